"""Neighbour lists in numpy, for runtimes that take a flat graph."""
