"""Many images of one molecule, evaluated in one request: reaction paths, vibrations."""
