"""Labels: a teacher's energies and forces for every frame, and which are not worth learning."""
