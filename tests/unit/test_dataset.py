"""A dataset gives back exactly what was put in, or says that it cannot."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forcegate_client.dataset import (
    NOT_THERMAL,
    Dataset,
    DatasetCorruptError,
    DatasetMismatchError,
    DatasetNotFoundError,
    Frame,
    Labels,
    MoleculeTable,
    Source,
    Split,
    TeacherRecord,
    append_dataset,
    concatenate,
    from_frames,
    load_dataset,
    with_labels,
    write_dataset,
)
from forcegate_client.dataset.parts import PartedDataset
from forcegate_client.dataset.schema import quantise_positions

TEACHER = TeacherRecord("tblite:GFN2-xTB", "0.8.0", {"accuracy": 0.1})
ARRAYS = (
    "n_atoms", "atomic_numbers", "positions", "cells", "pbc", "molecule_id", "source",
    "temperature", "flags", "fragment", "energies", "forces", "virials", "charges",
    "force_spread", "separated_energies",
)  # fmt: skip


def table(*names: str, splits: tuple[Split, ...] | None = None) -> MoleculeTable:
    return MoleculeTable.closed_shell(
        names, [f"KEY-{n}" for n in names], names, splits or [Split.TRAIN] * len(names)
    )


def unlabelled(seed: int = 0, molecules: MoleculeTable | None = None) -> Dataset:
    rng = np.random.default_rng(seed)
    molecules = molecules or table("O", "CC", splits=(Split.TRAIN, Split.TEST))
    frames = [
        Frame(
            rng.integers(1, 18, size=n).astype(np.int64),
            rng.normal(size=(n, 3)),
            index % len(molecules),
            Source.LANGEVIN if index % 2 else Source.STRETCH,
            300.0 if index % 2 else NOT_THERMAL,
        )
        for index, n in enumerate((3, 1, 8, 5))
    ]
    return from_frames(frames, molecules, seed=seed, code_version="1", dropped={"failed": 2})


def labelled(seed: int = 0, molecules: MoleculeTable | None = None) -> Dataset:
    dataset = unlabelled(seed, molecules)
    rng = np.random.default_rng(seed + 1)
    forces = rng.normal(size=dataset.positions.shape)
    charges = rng.normal(scale=0.3, size=len(forces))
    charges[0] = np.nan
    labels = Labels(
        energies=rng.normal(size=4) * 1e3,
        forces=forces,
        charges=charges,
        force_spread=rng.uniform(size=4).astype(np.float32).astype(np.float64),
        separated_energies=np.array([np.nan, -3.0, np.nan, np.nan]),
    )
    return with_labels(dataset, labels, TEACHER, np.array([0, 1, 0, 0]))


def assert_same(first: Dataset, second: Dataset) -> None:
    for name in ARRAYS:
        a, b = getattr(first, name), getattr(second, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.dtype == b.dtype, name
            np.testing.assert_array_equal(a, b, err_msg=name)
    assert first.molecules.smiles == second.molecules.smiles
    assert first.teacher == second.teacher
    assert first.content_hash() == second.content_hash()


@given(hnp.arrays(np.float64, (4, 3), elements=st.floats(-1e5, 1e5)))
def test_quantised_positions_survive_any_number_of_round_trips_bit_for_bit(
    positions: np.ndarray,
) -> None:
    once = quantise_positions(positions)
    assert np.abs(once - positions).max() <= 0.5e-4 * (1 + 1e-9)
    np.testing.assert_array_equal(quantise_positions(once), once)


@pytest.mark.parametrize("make", [unlabelled, labelled])
def test_a_file_gives_back_what_was_written(make: type, tmp_path: Path) -> None:
    dataset = make()
    write_dataset(tmp_path / "d.h5", dataset)
    read = load_dataset(tmp_path / "d.h5")
    assert_same(read, dataset)
    assert (read.seed, read.code_version, read.dropped) == (0, "1", {"failed": 2})
    np.testing.assert_array_equal(read.offsets, [0, 3, 4, 12, 17])


def test_periodic_frames_and_virials_are_kept(tmp_path: Path) -> None:
    dataset = labelled()
    rng = np.random.default_rng(5)
    periodic = replace(
        dataset,
        cells=rng.normal(size=(4, 3, 3)),
        pbc=np.ones((4, 3), dtype=np.bool_),
        virials=rng.normal(size=(4, 3, 3)),
    )
    write_dataset(tmp_path / "d.h5", periodic)
    assert_same(load_dataset(tmp_path / "d.h5"), periodic)


def test_a_file_without_frames_is_a_dataset(tmp_path: Path) -> None:
    empty = labelled().select(np.array([], dtype=np.int64))
    write_dataset(tmp_path / "d.h5", empty)
    assert len(load_dataset(tmp_path / "d.h5")) == 0


def test_positions_cost_about_twelve_bytes_an_atom_or_less(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    many = [Frame(np.full(20, 6), 3 * rng.normal(size=(20, 3)), 0, Source.LANGEVIN)] * 500
    write_dataset(tmp_path / "d.h5", from_frames(many, table("C")))
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["positions"].id.get_storage_size() <= 12 * 20 * 500


def test_frames_are_selected_with_their_atoms_and_molecules() -> None:
    dataset = labelled()
    chosen = dataset.select(np.array([3, 0]))
    assert dataset.forces is not None
    assert chosen.forces is not None
    np.testing.assert_array_equal(chosen.n_atoms, [5, 3])
    np.testing.assert_array_equal(
        chosen.positions, dataset.positions[np.r_[dataset.atoms_of(3), dataset.atoms_of(0)]]
    )
    np.testing.assert_array_equal(chosen.forces[:5], dataset.forces[dataset.atoms_of(3)])
    names = [chosen.molecules.smiles[row] for row in chosen.molecule_id]
    assert names == ["CC", "O"]
    assert dataset.select(np.array([0])).molecules.smiles == ("O",)


def test_frames_belong_to_the_split_of_their_molecule() -> None:
    dataset = unlabelled()
    np.testing.assert_array_equal(dataset.frame_indices("train"), [0, 2])
    np.testing.assert_array_equal(dataset.frame_indices("test"), [1, 3])
    assert len(dataset.frame_indices("validation")) == 0
    with pytest.raises(DatasetMismatchError, match="received split 'training'"):
        dataset.frame_indices("training")


def test_concatenated_datasets_name_each_molecule_once() -> None:
    parts = [labelled(0, table("O", "CC")), labelled(1, table("CC", "N"))]
    whole = concatenate(parts)
    assert whole.molecules.smiles == ("O", "CC", "N")
    names = [whole.molecules.smiles[row] for row in whole.molecule_id]
    assert names == ["O", "CC", "O", "CC", "CC", "N", "CC", "N"]
    assert whole.dropped == {"failed": 4}
    assert_same(whole.select(np.arange(4)), parts[0])


def test_a_molecule_in_two_splits_is_refused() -> None:
    first = labelled(0, table("O", "CC"))
    second = labelled(1, table("CC", "N", splits=(Split.TEST, Split.TRAIN)))
    with pytest.raises(DatasetMismatchError, match="CC in split test, but CC"):
        concatenate([first, second])


def test_labels_of_two_teachers_are_not_mixed() -> None:
    other = replace(labelled(1), teacher=replace(TEACHER, settings={"accuracy": 1.0}))
    with pytest.raises(DatasetMismatchError, match="expected one teacher"):
        concatenate([labelled(0), other])
    with pytest.raises(DatasetMismatchError, match="expected one teacher"):
        concatenate([labelled(0), unlabelled(1)])


def test_appended_frames_follow_what_was_there(tmp_path: Path) -> None:
    first, second = labelled(0), labelled(1)
    append_dataset(tmp_path / "d.h5", first)
    append_dataset(tmp_path / "d.h5", second)
    assert_same(load_dataset(tmp_path / "d.h5"), concatenate([first, second]))


def test_the_content_hash_is_about_content_alone() -> None:
    dataset = labelled()
    assert replace(dataset, seed=99, job={"a": 1}).content_hash() == dataset.content_hash()
    assert dataset.energies is not None
    energies = dataset.energies.copy()
    energies[2] = np.nextafter(energies[2], 0)
    assert replace(dataset, energies=energies).content_hash() != dataset.content_hash()
    assert replace(dataset, teacher=replace(TEACHER, version="9")).content_hash() != (
        dataset.content_hash()
    )


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    dataset = labelled()
    with pytest.raises(DatasetMismatchError, match=r"received forces of shape \(16, 3\)"):
        replace(dataset, forces=np.zeros((16, 3)))
    with pytest.raises(DatasetMismatchError, match="all three"):
        replace(dataset, forces=None)
    with pytest.raises(DatasetMismatchError, match="rows of the molecule table"):
        replace(dataset, molecule_id=np.array([0, 1, 2, 0]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_positions_that_the_format_cannot_hold_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="drop such frames"):
        from_frames([Frame(np.array([1]), np.array([[bad, 0, 0]]), 0, Source.LANGEVIN)], table("O"))


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    for name in ("positions", "forces", "energies", "molecules/split"):
        write_dataset(path, labelled())
        with h5py.File(path) as file:
            chunk = file[name].id.get_chunk_info(0)
        content = bytearray(path.read_bytes())
        content[chunk.byte_offset + chunk.size // 2] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(DatasetCorruptError):
            load_dataset(path)


def test_a_truncated_file_an_absent_file_and_a_text_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with pytest.raises(DatasetNotFoundError, match=r"d\.h5"):
        load_dataset(path)
    path.write_text("not a dataset")
    with pytest.raises(DatasetCorruptError, match="cannot be read as a dataset"):
        load_dataset(path)
    write_dataset(path, labelled())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DatasetCorruptError):
        load_dataset(path)


def test_an_edited_teacher_is_noticed(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d.h5", labelled())
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        file.attrs["teacher"] = replace(TEACHER, name="better").to_json()
    with pytest.raises(DatasetCorruptError, match="content hash"):
        load_dataset(tmp_path / "d.h5")


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d.h5", labelled())
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(DatasetMismatchError, match="schema version 99"):
        load_dataset(tmp_path / "d.h5")


def test_parts_become_one_file_in_their_order_not_that_of_arrival(tmp_path: Path) -> None:
    parts = PartedDataset(tmp_path / "d.h5", {"command": "test"}, 2)
    parts.add(1, labelled(1))
    with pytest.raises(DatasetMismatchError, match="lacks 1 of 2 pieces"):
        parts.finish({})
    parts.add(0, labelled(0))
    whole = parts.finish({"earlier": 1}, seed=7)
    assert_same(whole, concatenate([labelled(0), labelled(1)]))
    assert whole.dropped == {"failed": 4, "earlier": 1}
    assert whole.seed == 7
    assert not parts.folder.exists()


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    parts = PartedDataset(tmp_path / "d.h5", {"command": "test"}, 3)
    for piece in range(3):
        parts.add(piece, labelled(piece))
    damaged = parts.folder / "000001.h5"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    assert parts.done() == {0, 2}


def test_parts_of_other_work_are_refused(tmp_path: Path) -> None:
    PartedDataset(tmp_path / "d.h5", {"teacher": "a", "seed": 1}, 1).add(0, labelled())
    with pytest.raises(DatasetMismatchError, match="teacher: 'a' there, 'b' now"):
        PartedDataset(tmp_path / "d.h5", {"teacher": "b", "seed": 1}, 1)
    finished = PartedDataset(tmp_path / "d.h5", {"teacher": "a", "seed": 1}, 1)
    finished.finish({})
    with pytest.raises(DatasetMismatchError, match="belongs to other work"):
        PartedDataset(tmp_path / "d.h5", {"teacher": "b", "seed": 1}, 1)


WRITER = """
import sys
import numpy as np
from forcegate_client.dataset import Frame, MoleculeTable, Source, Split, from_frames, write_dataset
from forcegate_client.dataset.parts import PartedDataset

table = MoleculeTable.closed_shell(["O"], ["K"], ["K"], [Split.TRAIN])
def frames(n):
    rng = np.random.default_rng(n)
    return from_frames(
        [Frame(np.ones(50, dtype=np.int64), rng.normal(size=(50, 3)), 0, Source.LANGEVIN)] * 200,
        table,
    )
parts = PartedDataset(sys.argv[1], {"command": "test"}, 10_000)
for n in range(10_000):
    parts.add(n, frames(n))
    write_dataset(sys.argv[1] + ".replaced", frames(n))
    print(n, flush=True)
"""


@pytest.mark.parametrize("extra_ms", [0, 3, 7])
def test_a_killed_writer_loses_at_most_the_piece_in_flight(tmp_path: Path, extra_ms: int) -> None:
    out = tmp_path / "d.h5"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(out)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        confirmed = [int(writer.stdout.readline()) for _ in range(4)]
        if extra_ms:
            # Aim at different moments of a write.
            signal.sigtimedwait([], extra_ms / 1000)
        os.kill(writer.pid, signal.SIGKILL)
        confirmed += [int(line) for line in writer.stdout if line.endswith("\n")]
    parts = PartedDataset(out, {"command": "test"}, 10_000)
    done = parts.done()
    assert set(confirmed) <= done
    assert done <= set(range(max(confirmed) + 2))
    assert len(load_dataset(f"{out}.replaced")) == 200
