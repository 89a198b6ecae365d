"""Small predictions, answered where their bytes arrive: no task, no framework, one write."""
