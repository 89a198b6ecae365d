"""The worker of a deployment: what its command line means, and what its start-up script does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import typer

from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.teachers.spec import DEFAULT_TEACHER
from support.shadowing import WATER, write_taught_model
from support.watchers import until

__all__ = ["labels_what_is_put_aside", "parsed", "put_program", "started"]

# How `forcegate-train` ends when it is told to (128 + SIGTERM).
_STOPPED = 128 + signal.SIGTERM


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """What `forcegate-train` takes these words for: the options of the command ``shadow``.

    Raises:
        Exception: if it would refuse them.
    """
    group: Any = typer.main.get_command(create_app())
    name, *options = words
    assert name == "shadow"
    command = group.get_command(None, name)
    return dict(command.make_context(name, options).params)


def put_program(folder: Path, name: str, script: str) -> None:
    """Put a program of this name into a folder."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], programs: Path | None = None
) -> Iterator[Popen[bytes]]:
    """A container's command with its variables; what is in ``programs`` is found first."""
    before = [str(programs)] if programs else []
    path = ":".join([*before, str(Path(sys.executable).parent), os.environ["PATH"]])
    other = {name: value for name, value in os.environ.items() if not name.startswith("FORCEGATE_")}
    # In a group of its own, so that nothing it started outlives a test that fails.
    process = Popen(command, env={**other, **environment, "PATH": path}, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def labels_what_is_put_aside(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    models: Path,
    keys: Path,
    key: str,
    asked: str,
    programs: Path | None = None,
) -> None:
    """Let a worker label what a gateway with these ``keys`` puts aside, and end it.

    ``key`` may predict; ``asked`` is the URL in ``command`` that leads to the gateway; ``programs``
    is where an environment has its `forcegate-train`, if it is not that of the tests.
    """
    spool = Path(environment["FORCEGATE_SHADOW_DIR"])
    write_taught_model(models, teacher=DEFAULT_TEACHER)
    settings = Settings(
        runtime="fake",
        model_repository=models,
        keys_file=keys,
        shadow_fraction=1.0,
        shadow_dir=spool,
    )
    with running_gateway(settings) as url:
        client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"})
        with client:
            body = {"model": "fake", "structures": [WATER]}
            assert client.post("/v1/predict", json=body).status_code == 200
            assert any(asked in word for word in command)
            here = [word.replace(asked, url) for word in command]
            with started(here, environment, programs) as worker:
                counted = 'forcegate_shadow_structures_total{model="fake",version="1"} 1.0'

                def labelled() -> bool:
                    assert worker.poll() is None
                    # It is counted before the worker hears of that and takes the file away.
                    return counted in client.get("/metrics").text and not any(spool.iterdir())

                until(labelled, "the worker labelled nothing")
                worker.terminate()
                assert worker.wait(timeout=60) == _STOPPED
