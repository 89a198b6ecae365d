"""Metrics by what they are about; ``metrics.Metrics`` has them all."""
