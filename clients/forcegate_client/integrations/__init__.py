"""Engines and workflows that take a model by a name of their own: one file for each."""
