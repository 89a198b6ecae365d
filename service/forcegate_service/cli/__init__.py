"""The command line ``forcegate-serve``."""

from forcegate_service.cli.app import create_cli, main

__all__ = ["create_cli", "main"]
