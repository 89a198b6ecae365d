"""The command line ``forcegate-train``: one module a command."""
