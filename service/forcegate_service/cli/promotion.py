"""``forcegate-serve promote`` and ``rollback``: which version answers when none is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from forcegate_client.errors import ForcegateError
from forcegate_service.models.promotion import Promotion, promote, roll_back

__all__ = ["add_promotion_commands"]

_Model = Annotated[str, typer.Argument(help="Name of the model.")]
_Repository = Annotated[Path | None, typer.Option(help="Folder with <model>/<version>/ in it.")]
_Force = Annotated[
    bool, typer.Option("--force", help="Even one that is not validated; its answers tell of it.")
]


def add_promotion_commands(
    app: typer.Typer, repository_of: Callable[[typer.Context, Path | None], Path]
) -> None:
    """Add both; ``repository_of`` finds the repository by the options before and after them."""

    @app.command("promote", short_help="Let a version answer by default.")
    def _promote(
        context: typer.Context,
        model: _Model,
        version: Annotated[str, typer.Argument(help="Version that becomes the default.")],
        force: _Force = False,
        model_repository: _Repository = None,
    ) -> None:
        """Let a version answer requests that name none; running servers notice at a reload."""
        repository = repository_of(context, model_repository)
        _report(model, lambda: promote(repository, model, version, force=force))

    @app.command("rollback", short_help="Let the version before answer again.")
    def _rollback(
        context: typer.Context,
        model: _Model,
        version: Annotated[
            str | None, typer.Argument(help="Version to go back to [the one before].")
        ] = None,
        force: _Force = False,
        model_repository: _Repository = None,
    ) -> None:
        """Let the version before answer again; running servers notice at a reload."""
        repository = repository_of(context, model_repository)
        _report(model, lambda: roll_back(repository, model, version, force=force))


def _report(model: str, decide: Callable[[], Promotion]) -> None:
    try:
        decision = decide()
    except ForcegateError as error:
        typer.echo(f"forcegate-serve: {error}", err=True)
        raise typer.Exit(1) from None
    before = decision.previous or "none"
    typer.echo(f"{model}: version {decision.version} is the default (before: {before})")
    if decision.forced:
        typer.echo("it is not validated for anything, and its answers will say so", err=True)
    typer.echo("running servers take it up at SIGHUP or POST /v1/admin/reload", err=True)
