"""forcegate-client."""
