"""The main job in one command: serve a student and run molecular dynamics against it."""
