"""Programs of others, from their wheels, compute by a model as ASE does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read, write

from support.engines import ENGINES, MODEL, SAME, by_ase, engines_are_there, run, said_by
from support.readme import ROOT

pytestmark = [pytest.mark.system, engines_are_there]


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


def test_ase_and_aserpc_find_the_calculators_by_their_names(
    students_gateway: str, tmp_path: Path
) -> None:
    found = said_by("run_discovery", tmp_path, {"FORCEGATE_URL": students_gateway})
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
    calculator: str, students_gateway: str, tmp_path: Path
) -> None:
    write(tmp_path / "molecule.xyz", molecule("CH3OH"), format="xyz")
    words = shlex.split(here(documented("geometric-optimize"), students_gateway, calculator))
    run([str(ENGINES / "bin" / words[0]), *words[1:]], tmp_path, {})
    path = read(tmp_path / "molecule_optim.xyz", ":")
    last = by_ase(path[-1])
    assert np.linalg.norm(last.get_forces(), axis=1).max() < 0.05
    assert last.get_potential_energy() < by_ase(molecule("CH3OH")).get_potential_energy()


@pytest.mark.parametrize("calculator", ["RemoteCalculator", "LocalCalculator"])
def test_sella_finds_the_saddle_of_the_documented_script(
    calculator: str, students_gateway: str, tmp_path: Path
) -> None:
    script = tmp_path / "saddle.py"
    script.write_text(here(documented("from sella import"), students_gateway, calculator))
    run([str(ENGINES / "bin" / "python"), str(script)], tmp_path, {})
    saddle = by_ase(read(tmp_path / "saddle.xyz"))
    assert np.linalg.norm(saddle.get_forces(), axis=1).max() < 0.1
    # Ethane turned by 60°: three pairs of hydrogens face each other.
    minimum = by_ase(molecule("C2H6"))
    assert saddle.get_potential_energy() > minimum.get_potential_energy()
