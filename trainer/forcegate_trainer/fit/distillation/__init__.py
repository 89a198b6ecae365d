"""What a small student learns from a larger one, computed once before training."""
