"""Models that a Triton server evaluates: what it is configured with, and how it is asked."""
