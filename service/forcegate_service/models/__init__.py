"""Which versions are served: opening them, watching the repository, and which one is meant."""
