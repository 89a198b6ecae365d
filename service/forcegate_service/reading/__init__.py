"""Structures out of files: in a process of its own, because parsers meet anything."""
