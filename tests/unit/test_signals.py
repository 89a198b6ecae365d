"""Tests that send signals hold in a background job, under nohup and in any CI runner."""

from __future__ import annotations

import signal
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


# What the tests send. Others are not theirs to mend: a runner may ignore signal 32, which the
# thread library keeps to itself and lets nobody set.
SENT = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def unheard(text: str) -> dict[str, list[str]]:
    """Those of the signals that the tests send which a process ignores and holds back."""
    masks = {name: int(mask, 16) for name, mask in (line.split(":") for line in text.splitlines())}
    return {
        name: [number.name for number in SENT if mask >> (number - 1) & 1]
        for name, mask in masks.items()
    }


def test_children_hear_what_their_grandparents_ignored() -> None:
    script = f"trap '' INT TERM HUP QUIT; exec {sys.executable} -c \"$0\""
    command = ["sh", "-c", script, PARENT]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=TESTS, timeout=60
    )
    assert unheard(done.stdout) == {"SigIgn": [], "SigBlk": []}


def test_children_of_these_tests_ignore_and_hold_back_nothing() -> None:
    """Fails where the tests themselves run in a job that ignores SIGINT, unless they mend it."""
    done = subprocess.run(CHILD, shell=True, capture_output=True, text=True, check=True)
    assert unheard(done.stdout) == {"SigIgn": [], "SigBlk": []}
