"""What is kept of what models do badly on, for the next training."""
