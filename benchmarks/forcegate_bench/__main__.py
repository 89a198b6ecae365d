"""``forcegate-bench``: everything that is timed."""

from forcegate_bench.cli import engine_commands, gateway_commands
from forcegate_bench.cli.frame import app

__all__ = ["app", "engine_commands", "gateway_commands", "main"]


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
