"""Published data are put together once, and say what they were made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from typer.testing import CliRunner

from forcegate_client.dataset import Split, load_dataset
from forcegate_client.dataset.store import write_dataset
from forcegate_trainer.cli.app import create_app
from forcegate_trainer.data.datasets import load_all
from forcegate_trainer.data.molecules.unlikely import unlikely
from forcegate_trainer.errors import SettingsError
from support.datasets import labelled_dataset


def test_merged_files_hold_all_frames_and_name_their_origins(tmp_path: Path) -> None:
    dataset = labelled_dataset()
    half = len(dataset) // 2
    parts = [dataset.select(np.arange(half)), dataset.select(np.arange(half, len(dataset)))]
    paths = [tmp_path / "one.h5", tmp_path / "two.h5"]
    for path, part in zip(paths, parts, strict=True):
        write_dataset(path, part)
    out = tmp_path / "whole.h5"
    result = CliRunner().invoke(create_app(), ["merge", *map(str, paths), "--out", str(out)])
    assert result.exit_code == 0, result.output
    whole = load_dataset(out)
    assert np.array_equal(whole.positions, dataset.positions)
    assert [entry["content"] for entry in whole.job["inputs"]] == [p.content_hash() for p in parts]


def test_what_was_published_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "one.h5"
    write_dataset(path, labelled_dataset())
    before = path.read_bytes()
    result = CliRunner().invoke(create_app(), ["merge", str(path), "--out", str(path)])
    assert isinstance(result.exception, SettingsError)
    assert path.read_bytes() == before


def test_rounded_forces_take_less_room_and_are_off_by_less_than_any_teacher(tmp_path: Path) -> None:
    dataset = labelled_dataset()
    write_dataset(tmp_path / "one.h5", dataset)
    merge(tmp_path, "whole.h5")
    merge(tmp_path, "small.h5", "--round-forces")
    small = load_dataset(tmp_path / "small.h5")
    assert small.forces is not None
    assert dataset.forces is not None
    assert 0.0 < abs(small.forces - dataset.forces).max() <= 5.1e-4
    sizes = {name: (tmp_path / name).stat().st_size for name in ("whole.h5", "small.h5")}
    assert sizes["small.h5"] < sizes["whole.h5"]
    # Written again it stays what it is.
    write_dataset(tmp_path / "again.h5", small)
    assert load_dataset(tmp_path / "again.h5").content_hash() == small.content_hash()


def test_frames_of_unlikely_ions_are_left_out_on_request_and_counted(tmp_path: Path) -> None:
    dataset = labelled_dataset()
    smiles = list(dataset.molecules.smiles)
    smiles[0] = "CC[OH+]CC"
    odd = replace(dataset, molecules=replace(dataset.molecules, smiles=tuple(smiles)))
    write_dataset(tmp_path / "one.h5", odd)
    merge(tmp_path, "all.h5")
    merge(tmp_path, "likely.h5", "--likely-only")
    whole, likely = load_dataset(tmp_path / "all.h5"), load_dataset(tmp_path / "likely.h5")
    gone = int(np.sum(odd.molecule_id == 0))
    assert gone > 0
    assert (len(whole), len(likely)) == (len(odd), len(odd) - gone)
    assert likely.dropped["unlikely_ion"] == gone
    assert smiles[0] not in likely.molecules.smiles


def test_molecules_of_one_or_two_heavy_atoms_are_trained_on_wherever_they_came_from(
    tmp_path: Path,
) -> None:
    dataset = labelled_dataset()
    table = dataset.molecules
    held_out = np.full(len(table), Split.VALIDATION, dtype=table.split.dtype)
    smiles = ("N", "N.[NH4+]", "N.CCO", *table.smiles[3:])
    keys = ("a", "a.a", "a.b", *table.split_key[3:])
    moved = replace(table, split=held_out, smiles=smiles, split_key=keys)
    write_dataset(tmp_path / "one.h5", replace(dataset, molecules=moved))
    merge(tmp_path, "all.h5")
    found = load_dataset(tmp_path / "all.h5").molecules
    assert list(load_all((str(tmp_path / "one.h5"),)).molecules.split) == list(found.split)
    trained = {name for name, s in zip(found.smiles, found.split, strict=True) if s == Split.TRAIN}
    assert trained == {"N", "N.[NH4+]"}


def test_a_file_that_would_be_too_large_is_a_random_part_of_all_frames(tmp_path: Path) -> None:
    dataset = labelled_dataset()
    write_dataset(tmp_path / "one.h5", dataset)
    for out in ("some.h5", "again.h5"):
        merge(tmp_path, out, "--most", "5")
    some = load_dataset(tmp_path / "some.h5")
    assert len(some) == 5 < len(dataset)
    assert some.dropped["not_drawn"] == len(dataset) - 5
    energies = dataset.energies.tolist()
    positions = [energies.index(energy) for energy in some.energies.tolist()]
    assert positions == sorted(positions) != list(range(5))
    assert some.content_hash() == load_dataset(tmp_path / "again.h5").content_hash()
    merge(tmp_path, "all.h5", "--most", "1000")
    assert len(load_dataset(tmp_path / "all.h5")) == len(dataset)


@pytest.mark.parametrize(
    ("smiles", "usual"),
    [
        ("C[C+](C)C", False),
        ("CC[OH+]CC", False),
        ("O=[N+]=S", False),
        ("S=O", False),
        ("C[CH-]C", False),
        ("[OH3+]", True),
        ("c1ccc[cH+]cc1", True),
        ("CC(=O)[O-]", True),
        ("C[NH3+]", True),
        ("CC(=O)[CH-]C(C)=O", True),
        ("C[N+](=O)[O-]", True),
        ("C[S+](C)C", True),
        ("C[P+](C)(C)[CH-]C", True),
        ("[C-]#N", True),
        ("O=C=O", True),
        ("CS(C)=O", True),
    ],
)
def test_ions_of_solutions_are_told_from_those_of_random_edits(smiles: str, usual: bool) -> None:
    assert (unlikely(Chem.MolFromSmiles(smiles)) is None) == usual


def merge(folder: Path, out: str, *options: str) -> None:
    """``one.h5`` merged to ``out``."""
    command = ["merge", str(folder / "one.h5"), "--out", str(folder / out), *options]
    result = CliRunner().invoke(create_app(), command)
    assert result.exit_code == 0, result.output
