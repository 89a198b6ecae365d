"""Microcanonical dynamics of the suite, and what comes of it."""
