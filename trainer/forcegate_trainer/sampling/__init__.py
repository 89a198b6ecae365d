"""Geometries of molecules: what a student should have seen before it runs a simulation."""

from forcegate_trainer.sampling.recipe import SamplingSettings
from forcegate_trainer.sampling.run import sample_file

__all__ = ["SamplingSettings", "sample_file"]
