"""Geometries of molecules: what a student should have seen before it runs a simulation."""

from forcegate_trainer.data.sampling.recipe import SamplingSettings
from forcegate_trainer.data.sampling.run import sample_file

__all__ = ["SamplingSettings", "sample_file"]
