"""Tests that send signals hold in a background job, under nohup and in any CI runner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]

# What a child of the tests ignores and holds back, as bit masks.
CHILD = "grep -E 'SigIgn|SigBlk' /proc/self/status"
PARENT = f"""
import signal, subprocess
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT, signal.SIGTERM}})
from support.signals import take_signals_as_at_a_terminal
take_signals_as_at_a_terminal()
subprocess.run({CHILD!r}, shell=True, check=True)
"""


def masks(text: str) -> dict[str, int]:
    return {name: int(mask, 16) for name, mask in (line.split(":") for line in text.splitlines())}


def test_children_hear_what_their_grandparents_ignored() -> None:
    script = f"trap '' INT TERM HUP QUIT; exec {sys.executable} -c \"$0\""
    command = ["sh", "-c", script, PARENT]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=TESTS, timeout=60
    )
    assert masks(done.stdout) == {"SigIgn": 0, "SigBlk": 0}


def test_children_of_these_tests_ignore_and_hold_back_nothing() -> None:
    """Fails where the tests themselves run in a job that ignores SIGINT, unless they mend it."""
    done = subprocess.run(CHILD, shell=True, capture_output=True, text=True, check=True)
    assert masks(done.stdout) == {"SigIgn": 0, "SigBlk": 0}
