"""What stands around each benchmark: the process that measures, and what is written at the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from forcegate_bench.machine.cores import layouts
from forcegate_bench.machine.process import start_over_as_served
from forcegate_bench.paths import RESULTS
from forcegate_bench.report.rows import Findings, write
from forcegate_bench.subjects.subject import Subject, subject_of
from forcegate_client.cli.outspoken import OutspokenCommand, OutspokenGroup

__all__ = ["Core", "Model", "Out", "Repository", "Run", "Seconds", "app", "of_gateway", "publish"]

Repository = Annotated[Path, typer.Option("--model-repository")]
Model = Annotated[str, typer.Option("--model")]
Seconds = Annotated[float, typer.Option("--seconds", min=1.0, help="Time on the clock.")]
Out = Annotated[Path | None, typer.Option("--out", help="Else benchmarks/results/COMMAND.json.")]
Core = Annotated[int | None, typer.Option("--core", help="The core to keep to; else the last.")]


def _option(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


# What every benchmark of a gateway can be told.
_SHARED = [
    _option("model_repository", Repository, Path("model_repository")),
    _option("fake", Annotated[bool, typer.Option("--fake", help="A toy, for trials.")], False),
    _option("core", Annotated[int, typer.Option(help="Of inference and the baseline.")], 0),
    _option("other_core", Annotated[int, typer.Option(help="Where the traffic comes from.")], 1),
    _option("out", Out, None),
]

app = typer.Typer(
    name="forcegate-bench",
    cls=OutspokenGroup,
    help="Everything that is timed; benchmarks/README.md says what the numbers are.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True)
class Run:
    """What every benchmark of a gateway is given; ``cores`` are those of inference and traffic."""

    repository: Path
    fake: bool
    cores: tuple[int, int]
    log: Path

    def subject(self, model: str, engine: bool = True) -> AbstractContextManager[Subject]:
        """The newest version of ``model``, or the toy; TorchScript unless ``engine``."""
        return subject_of(self.repository, model, self.fake, engine)


def of_gateway(title: str) -> Callable[[Callable[..., Findings]], Callable[..., Findings]]:
    """Make a command of a function that measures a gateway and is handed a ``Run``.

    Its own parameters are options, beside those that all such commands have. It runs with one
    torch thread in a process as the serving one; what it finds is written and printed.
    """

    def register(measure: Callable[..., Findings]) -> Callable[..., Findings]:
        name = measure.__name__.replace("_", "-")

        @wraps(measure)
        def command(
            model_repository: Path,
            fake: bool,
            core: int,
            other_core: int,
            out: Path | None,
            **own: Any,
        ) -> None:
            cores = _two_cores(core, other_core)
            start_over_as_served(other_core)
            # Imported here because torch has to find the environment of that process.
            import torch

            torch.set_num_threads(1)
            path = out or RESULTS / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            run = Run(model_repository, fake, cores, path.with_suffix(".log"))
            publish(path, title, measure(run, **own))

        _, *own = inspect.signature(measure, eval_str=True).parameters.values()
        command.__signature__ = inspect.Signature([*own, *_SHARED])  # type: ignore[attr-defined]
        app.command(name, cls=OutspokenCommand)(command)
        return measure

    return register


def publish(out: Path, title: str, found: Findings, more: str = "") -> None:
    """Write JSON, and Markdown with ``more`` at its end; print the Markdown."""
    from rich.console import Console

    from forcegate_bench.machine.processor import describe

    write(out, title, describe(), found)
    markdown = out.with_suffix(".md")
    text = markdown.read_text(encoding="utf-8") + more
    markdown.write_text(text, encoding="utf-8")
    Console().print(text, markup=False)


def _two_cores(core: int, other_core: int) -> tuple[int, int]:
    try:
        layouts(core, other_core)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return core, other_core
