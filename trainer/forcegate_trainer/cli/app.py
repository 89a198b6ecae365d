"""``forcegate-train``: from a list of molecules to a validated student."""

import sys

import typer
from rich.console import Console

from forcegate_client.cli.outspoken import OutspokenGroup
from forcegate_client.errors import ForcegateError
from forcegate_trainer.cli.datasets import describe_command, import_command, merge
from forcegate_trainer.cli.export import (
    calibrate_forces_command,
    export_command,
    export_histograms_command,
    export_weights_command,
)
from forcegate_trainer.cli.fit import fit_command
from forcegate_trainer.cli.label import label, teacher_app
from forcegate_trainer.cli.molecules import molecules
from forcegate_trainer.cli.sample import contacts, explore, sample
from forcegate_trainer.cli.shadow import shadow_command
from forcegate_trainer.cli.validate import validate_command

EXIT_BAD_INPUT = 2


def create_app() -> typer.Typer:
    """The command line with all its commands."""
    app = typer.Typer(
        name="forcegate-train",
        cls=OutspokenGroup,
        help="Distil a slow teacher potential into small students.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command()(molecules)
    app.command()(sample)
    app.command()(contacts)
    app.command()(explore)
    app.command()(label)
    app.command("import")(import_command)
    app.command()(merge)
    app.command("describe")(describe_command)
    app.command("fit")(fit_command)
    app.command("export")(export_command)
    app.command("export-weights")(export_weights_command)
    app.command("export-histograms")(export_histograms_command)
    app.command("calibrate-forces")(calibrate_forces_command)
    app.command("validate")(validate_command)
    app.command("shadow")(shadow_command)
    app.add_typer(teacher_app, name="teacher")
    return app


def main() -> None:
    """Run the command line; what a user can mend is told in one line, without a traceback."""
    errors = Console(stderr=True, soft_wrap=True)
    try:
        create_app()(standalone_mode=True)
    except ForcegateError as error:
        errors.print(f"[bold red]error[/] ({error.code}): ", end="")
        errors.print(str(error), markup=False, highlight=False)
        sys.exit(EXIT_BAD_INPUT)
