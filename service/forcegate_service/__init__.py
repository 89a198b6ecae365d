"""The gateway that serves forcegate models."""
