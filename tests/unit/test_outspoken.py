"""No command fails in silence: an exit code other than 0 comes with words on standard error."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from forcegate_client.cli.app import app as client
from forcegate_service.cli import create_cli
from forcegate_trainer.cli.app import create_app


def server_hangs_up() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        ours.sendall(b"a request")


def worker_dies() -> None:
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with ours:
        ours.recv()


def person_interrupts() -> None:
    raise KeyboardInterrupt


# How it goes wrong, the exit code, and what must be said.
FAILURES = [
    (server_hangs_up, 1, "BrokenPipeError"),
    (worker_dies, 1, "EOFError"),
    (person_interrupts, 130, "interrupted"),
]


@pytest.mark.parametrize(("failure", "code", "words"), FAILURES)
@pytest.mark.parametrize("create", [lambda: client, create_cli, create_app])
def test_whoever_goes_away_is_heard_of(
    create: Callable[[], typer.Typer], failure: Callable[[], None], code: int, words: str
) -> None:
    """Each command line of the project, with one more command, which fails."""
    app = create()
    app.command("fail")(failure)
    try:
        done = CliRunner().invoke(app, ["fail"])
    finally:
        app.registered_commands.pop()
    assert done.exit_code == code
    assert words in done.stderr


def script(body: str) -> subprocess.Popen[str]:
    """A script as those of the examples, which have one command without a name."""
    code = f"""
import os, signal, time
from forcegate_client.cli.outspoken import run
def main() -> None:
    {body}
run(main)
"""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("r, w = os.pipe(); os.close(r); os.write(w, b'x')", 1, "BrokenPipeError"),
        ("raise EOFError('half a file')", 1, "half a file"),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", 130, "interrupted"),
        ("raise ConnectionResetError('gone')", 1, "gone"),
    ],
)
def test_a_script_says_what_ended_it(body: str, code: int, words: str) -> None:
    with script(body) as running:
        _, said = running.communicate(timeout=60)
    assert running.returncode == code
    assert words in said


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NOWHERE = ["--model-repository", "nowhere"]
# Where a benchmark looks for what it measures, and finds nothing.
ABSENT = {
    **dict.fromkeys(
        ("load", "overload", "fairness", "monitoring", "overhead", "soak", "screening"), NOWHERE
    ),
    **dict.fromkeys(("serving-peers", "triton", "local"), NOWHERE),
    "relaxation": ["--dataset", "nowhere.h5"],
}


@pytest.mark.system
@pytest.mark.parametrize("name", ABSENT)
def test_a_benchmark_of_what_is_not_there_says_so_in_words(name: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out.json")]
    command = [sys.executable, "-m", "forcegate_bench", name, *ABSENT[name], *out]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "nowhere" in done.stderr


def test_a_reader_that_has_had_enough_is_no_failure_to_speak_of() -> None:
    with script("while True: print('a line', flush=True)") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == "a line\n"
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(timeout=60) != 0


# Each group of commands of the project that does nothing by itself; forcegate-serve serves.
GROUPS = {
    "forcegate": (lambda: client, ()),
    "forcegate-train": (create_app, ()),
    "forcegate-train teacher": (create_app, ("teacher",)),
    "forcegate-serve keys": (create_cli, ("keys",)),
}


@pytest.mark.parametrize("group", GROUPS)
def test_without_a_command_the_help_is_an_error_and_asked_for_it_is_output(group: str) -> None:
    create, words = GROUPS[group]
    unsaid = CliRunner().invoke(create(), [*words])
    assert (unsaid.exit_code, unsaid.stdout) == (2, "")
    assert "COMMAND [ARGS]" in unsaid.stderr
    asked = CliRunner().invoke(create(), [*words, "--help"])
    assert (asked.exit_code, asked.stderr) == (0, "")
    assert asked.stdout.split() == unsaid.stderr.split()
    unknown = CliRunner().invoke(create(), [*words, "fly"])
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "No such command 'fly'" in unknown.stderr
