"""Molecular dynamics of many molecules side by side, each as if it were alone."""
