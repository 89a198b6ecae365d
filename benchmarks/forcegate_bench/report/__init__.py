"""Clocks, rows of one form, and plots."""
