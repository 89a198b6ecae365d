"""What a dataset contains, counted and drawn."""
