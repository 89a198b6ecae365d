"""Molecular dynamics beside ASE's: monitor, reports, NVE protocol, checkpoints, trajectories."""
