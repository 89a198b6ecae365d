"""``forcegate-serve``."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from forcegate_client.cli.outspoken import OutspokenGroup
from forcegate_client.errors import ForcegateError
from forcegate_service.api.logs import configure_logging
from forcegate_service.cli.keys import keys_commands
from forcegate_service.cli.promotion import add_promotion_commands
from forcegate_service.cli.settings import name_of, show_settings, unknown_settings
from forcegate_service.machine import round_alike_in_every_batch
from forcegate_service.settings import Settings

__all__ = ["create_cli", "main"]


def create_cli() -> typer.Typer:
    """The command line with all its commands."""
    # Brackets in a help text are defaults, and no markup.
    app = typer.Typer(
        cls=OutspokenGroup,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(invoke_without_command=True)(_serve)
    app.command("triton-repository", short_help="Write Triton's files beside models.")(
        _triton_repository
    )
    app.command("metrics", short_help="Print every metric and its meaning.")(_metrics)
    app.command("settings", short_help="List what is set, and from where.")(_show_settings)
    add_promotion_commands(
        app, lambda context, given: _settings_for(context, given).model_repository
    )
    app.add_typer(keys_commands(), name="keys")
    return app


def main() -> None:
    """The console script."""
    create_cli()()


def _print_version(asked: bool) -> None:
    if asked:
        print(f"forcegate {version('forcegate')}")
        raise typer.Exit


def _serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one [8000].")] = None,
    model_repository: Annotated[
        Path | None, typer.Option(help="Folder with <model>/<version>/ [model_repository].")
    ] = None,
    runtime: Annotated[
        Literal["embedded", "triton", "in-process", "fake"] | None,
        typer.Option(
            help="What evaluates models [embedded].", metavar="<embedded|triton|in-process>"
        ),
    ] = None,
    torch_threads: Annotated[
        int | None, typer.Option(help="Threads of one inference [cores - 1].")
    ] = None,
    port_file: Annotated[
        Path | None, typer.Option(help="Write the port there once models are served.")
    ] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="File of the keys that are let in; see `keys`.")
    ] = None,
    allow_anonymous: Annotated[
        bool | None,
        typer.Option("--allow-anonymous", help="Let requests without a key in, from anywhere."),
    ] = None,
    triton_url: Annotated[
        str | None, typer.Option(help="host:port of Triton's gRPC [127.0.0.1:8001].")
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, typer.Option(help="[info]")
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Serve the models of a repository over HTTP; promote them and manage keys for that.

    Every option is also a setting FORCEGATE_<OPTION>, and there are more of them: see
    docs/settings.md. Options win over the environment.
    """
    given = {
        "host": host,
        "port": port,
        "model_repository": model_repository,
        "runtime": runtime,
        "torch_threads": torch_threads,
        "port_file": port_file,
        "keys_file": keys_file,
        "allow_anonymous": allow_anonymous,
        "triton_url": triton_url,
        "log_level": log_level,
    }
    context.obj = {name: value for name, value in given.items() if value is not None}
    if context.invoked_subcommand is not None:
        return
    settings = _settings(context.obj)
    # Imported here so that --help and --version need not wait for torch.
    from forcegate_service.api.server import serve

    configure_logging(settings)
    round_alike_in_every_batch()
    raise typer.Exit(serve(settings))


def _triton_repository(
    context: typer.Context,
    model_repository: Annotated[
        Path | None, typer.Option(help="Folder with <model>/<version>/ [model_repository].")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if anything would change.")
    ] = False,
    python_backend: Annotated[
        bool, typer.Option("--python-backend", help="Also what Triton's Python backend runs.")
    ] = False,
) -> None:
    """Write what Triton needs beside each model: configurations and warm-up data."""
    from forcegate_service.models.loading import version_folders
    from forcegate_service.runtimes.triton.repository import update_triton_files

    try:
        folders = version_folders(_settings_for(context, model_repository).model_repository)
        models = sorted({folder.parent for folder in folders})
        changed = update_triton_files(models, write=not check, python_backend=python_backend)
    except ForcegateError as error:
        typer.echo(f"forcegate-serve: {error}", err=True)
        raise typer.Exit(1) from None
    for path in changed:
        print(f"{'differs' if check else 'written'}: {path}")
    if check and changed:
        typer.echo("forcegate-serve: written anew without --check", err=True)
        raise typer.Exit(1)


def _metrics() -> None:
    """Print every metric with its labels and meaning, as docs/metrics.md has them."""
    from forcegate_service.watch.catalogue import catalogue, document

    print(document(catalogue()), end="")


def _show_settings(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
) -> None:
    """List every setting, what it is, and whether that is the default or who says so."""
    show_settings(_settings(context.obj), context.obj, as_json=as_json)


def _settings_for(context: typer.Context, model_repository: Path | None) -> Settings:
    """A command's settings: those of the command line before it, and its own repository if any."""
    own = {} if model_repository is None else {"model_repository": model_repository}
    return _settings(context.obj | own)


def _settings(given: dict[str, Any]) -> Settings:
    problems = unknown_settings(os.environ)
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for item in error.errors():
            name = name_of("_".join(map(str, item["loc"]))) + ": " if item["loc"] else ""
            problems.append(name + item["msg"].removeprefix("Value error, "))
    if problems:
        for problem in problems:
            typer.echo(f"forcegate-serve: {problem}", err=True)
        raise typer.Exit(2)
    return settings
