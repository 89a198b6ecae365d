"""Compiled packages: built for this machine, judged against TorchScript, and kept in a cache."""
