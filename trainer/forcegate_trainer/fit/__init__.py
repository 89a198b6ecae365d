"""Fitting a student to a labelled dataset."""
