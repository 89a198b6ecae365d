"""Whoever has labelled frames makes a dataset of them, and fits a student to it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from forcegate_client.dataset import Source, Split, load_dataset

NAMES = (
    "CH3CH2OH", "CH3OCH3", "CH3CHO", "HCOOH", "CH3COOH", "CH3OH", "C2H6", "C2H4", "H2CO", "C3H8",
)  # fmt: skip


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from forcegate_trainer.cli.app import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )


def frames(each: int, shift: float = 0.0) -> list[Atoms]:
    """Rattled molecules with energies, forces and charges of some method."""
    rng = np.random.default_rng(0)
    made = []
    for name in NAMES:
        for _ in range(each):
            atoms = molecule(name)
            atoms.rattle(0.04, rng=rng)
            atoms.calc = EMT()
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            charges = np.full(len(atoms), 0.01) - 0.01
            atoms.calc = SinglePointCalculator(
                atoms, energy=energy + shift * len(atoms), forces=forces, charges=charges
            )
            made.append(atoms)
    return made


def test_two_hundred_frames_become_a_dataset_and_a_student(tmp_path: Path) -> None:
    write(tmp_path / "data.extxyz", frames(20))
    done = run(
        "import", tmp_path / "data.extxyz", "--out", tmp_path / "mine.h5", "--method", "emt",
        "--level", "EMT", "--validation-share", "0.2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    dataset = load_dataset(tmp_path / "mine.h5")
    assert len(dataset) == 200
    assert len(dataset.molecules) == len(NAMES)
    assert set(dataset.source.tolist()) == {Source.IMPORTED}
    assert dataset.teacher is not None
    assert (dataset.teacher.name, dataset.teacher.settings) == ("emt", {"level": "EMT"})
    assert len(dataset.frame_indices("validation")) >= 20
    done = run(
        "fit", tmp_path / "mine.h5", "--out", tmp_path / "run", "--model", "painn_ultra_tiny",
        "--elements", "1,6,8", "--epochs", "3", "--no-compile", "--no-tensorboard",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.pt").is_file()
    # A student goes on with frames whose energies have another zero.
    write(tmp_path / "other.extxyz", frames(8, shift=-40.0))
    done = run(
        "import", tmp_path / "other.extxyz", "--out", tmp_path / "other.h5",
        "--method", "another", "--validation-share", "0.2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = run(
        "fit", tmp_path / "other.h5", "--out", tmp_path / "more", "--model", "painn_ultra_tiny",
        "--elements", "1,6,8", "--epochs", "1", "--no-compile", "--no-tensorboard",
        "--start-from", tmp_path / "run", "--learning-rate", "1e-4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = (tmp_path / "more" / "metrics.jsonl").read_text()
    error = float(metrics.split('"energy_mae_mev_per_atom": ')[1].split(",")[0].rstrip("}\n"))
    # The other zero is 40,000 meV an atom away.
    assert error < 500


def test_databases_keys_of_ones_own_and_groups_are_read(tmp_path: Path) -> None:
    with connect(tmp_path / "data.db") as database:
        for atoms in frames(2):
            database.write(atoms)
    done = run("import", tmp_path / "data.db", "--out", tmp_path / "db.h5")
    assert done.returncode == 0, done.stderr
    assert len(load_dataset(tmp_path / "db.h5")) == 2 * len(NAMES)
    named = []
    for number, atoms in enumerate(frames(2)):
        results = atoms.calc.results
        atoms.calc = None
        atoms.info |= {"REF_energy": results["energy"], "system": f"s{number // 8}", "charge": 0}
        atoms.arrays["REF_forces"] = results["forces"]
        named.append(atoms)
    write(tmp_path / "named.extxyz", named)
    done = run(
        "import", tmp_path / "named.extxyz", "--out", tmp_path / "named.h5", "--group-key",
        "system", "--energy-key", "REF_energy", "--forces-key", "REF_forces",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    dataset = load_dataset(tmp_path / "named.h5")
    assert dataset.molecules.smiles == ("s0", "s1", "s2")
    assert Split.VALIDATION in dataset.molecules.split


def test_an_ion_keeps_its_charge_and_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    ammonium = Atoms("NH4", [[0, 0, 0], [0.6, 0.6, 0.6], [-0.6, -0.6, 0.6], [-0.6, 0.6, -0.6],
                             [0.6, -0.6, -0.6]])  # fmt: skip
    ammonium.info["charge"] = 1
    ammonium.calc = SinglePointCalculator(ammonium, energy=-1.0, forces=np.zeros((5, 3)))
    broken = molecule("H2O")
    broken.calc = SinglePointCalculator(broken, energy=np.nan, forces=np.zeros((3, 3)))
    strong = molecule("H2O")
    strong.calc = SinglePointCalculator(strong, energy=-1.0, forces=np.full((3, 3), 90.0))
    write(tmp_path / "some.extxyz", [ammonium, broken, strong, molecule("H2O")])
    done = run("import", tmp_path / "some.extxyz", "--out", tmp_path / "some.h5")
    assert done.returncode == 0, done.stderr
    dataset = load_dataset(tmp_path / "some.h5")
    assert dataset.charge.tolist() == [1]
    assert dataset.molecules.smiles == ("[NH4+]",)
    assert dataset.dropped == {"force_too_large": 1, "no_energy_or_forces": 1, "not_finite": 1}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "expected an existing file"), ("nonsense", "cannot read"), ("2\n\nH 0 0 0\nH 0 0 1\n",
     "without a usable frame")],
)  # fmt: skip
def test_a_file_without_labels_is_refused_in_words(
    content: str | None, complaint: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "f.xyz").write_text(content)
    done = run("import", tmp_path / "f.xyz", "--out", tmp_path / "f.h5")
    assert done.returncode == 2
    assert complaint in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "f.h5").exists()
