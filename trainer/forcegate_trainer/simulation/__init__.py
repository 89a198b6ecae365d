"""What moves many molecules at once: potentials of many structures, and steps in time."""
