"""A program in C has the engine's answers, on this machine and on ARM."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from support.engine import CHARGED, build_script, engine, liquid, weights

# Compiles the engine, for another machine too.
pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "engine" / "forcegate_engine" / "native"
PROGRAM = ROOT / "tests" / "support" / "engine_program.c"
CELL = np.array([[12.0, 0.0, 0.0], [2.0, 12.5, 0.0], [-1.0, 3.0, 13.0]])
# Kind of machine, compilers of C and C++, what runs its programs, and the kernel that is expected.
ARM = ("aarch64", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "qemu-aarch64")


def run(folder: Path, library: Path, compiler: str, runner: list[str]) -> list[str]:
    """The lines that the program prints for a box of molecules."""
    atoms = liquid(np.random.default_rng(12), 6)
    lines = [
        f"{number} {' '.join(f'{x:.17g}' for x in position)}\n"
        for number, position in zip(atoms.numbers, atoms.positions, strict=True)
    ]
    (folder / "atoms.txt").write_text("".join(lines))
    (folder / "weights").write_bytes(weights(CHARGED))
    program = folder / "program"
    strict = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    link = [str(library), f"-Wl,-rpath,{library.parent}"]
    command = [compiler, *strict, f"-I{NATIVE}", str(PROGRAM), *link, "-o", str(program)]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [*runner, str(program), str(folder / "weights"), str(folder / "atoms.txt")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    kernel, energy, *forces = done.stdout.splitlines()
    expected = engine(CHARGED).evaluate(
        atoms.numbers, atoms.positions, cells=CELL[None], pbc=[[True] * 3]
    )
    assert float(energy) == pytest.approx(expected.energy[0], abs=1e-4)
    found = np.array([line.split() for line in forces], dtype=float)
    np.testing.assert_allclose(found, expected.forces, atol=1e-5)
    return [kernel]


def test_a_program_in_c_has_the_answers_of_python(tmp_path: Path) -> None:
    library = tmp_path / "libforcegate.so"
    shutil.copy(NATIVE.parent / library.name, library)
    assert run(tmp_path, library, "cc", []) == [engine(CHARGED).kernel]


def test_arm_has_the_same_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, c_compiler, compiler, emulator = ARM
    if shutil.which(compiler) is None or shutil.which(emulator) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{compiler} and {emulator} are needed")
        pytest.skip(f"{compiler} and {emulator} are not here: g++-aarch64-linux-gnu, qemu-user")
    library = tmp_path / "libforcegate.so"
    monkeypatch.setenv("CXX", compiler)
    build_script().compile_library(library, machine=machine)
    runner = [emulator, "-L", "/usr/aarch64-linux-gnu"]
    assert run(tmp_path, library, c_compiler, runner) == ["neon"]
