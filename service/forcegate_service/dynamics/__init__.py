"""Runs: structures that the server moves itself; ``sessions.py`` has the way of one."""
