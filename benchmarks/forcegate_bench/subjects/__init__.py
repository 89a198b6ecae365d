"""What is evaluated: structures, and models with their baselines in process."""
