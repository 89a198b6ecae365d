"""Geometries of molecules: what a student should have seen before it runs a simulation."""
