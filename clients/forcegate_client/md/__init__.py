"""Files of molecular-dynamics runs: checkpoints to go on from, and trajectories."""
