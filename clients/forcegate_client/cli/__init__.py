"""The ``forcegate`` command line, one module a command."""
