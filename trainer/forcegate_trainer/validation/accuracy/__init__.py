"""Errors on labelled frames of molecules never trained on."""
