"""The turn of the wheel: nobody is trained on who judges, and the group is met in traffic alone."""

from __future__ import annotations

from dataclasses import fields
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from forcegate_client.dataset import Dataset, MoleculeTable, Source, Split
from forcegate_wheel.division import (
    Division,
    divide,
    load_division,
    monomers,
    save_division,
    without,
)
from forcegate_wheel.group import has_group, keys_with_group
from support.wheel import molecules_of

WITH = ["CS(C)(=O)=O", "CS(C)=O", "C[S+](C)[O-]", "NS(=O)(=O)c1ccccc1", "COS(C)(=O)=O", "CS(C)=N"]
WITHOUT = ["CSC", "CS", "c1ccsc1", "CC(=S)C", "CC(=O)C", "CSSC", "C[N+](=O)[O-]", "S=C=S"]


@pytest.mark.parametrize("smiles", WITH)
def test_sulfur_with_oxygen_or_nitrogen_on_a_double_bond_is_the_group(smiles: str) -> None:
    assert has_group(smiles)


@pytest.mark.parametrize("smiles", WITHOUT)
def test_other_sulfur_is_not(smiles: str) -> None:
    assert not has_group(smiles)


def test_a_pair_has_the_group_where_one_of_its_two_has() -> None:
    table = MoleculeTable.closed_shell(["O.CS(C)=O"], ["X.Y"], ["WATER.DMSO"], [Split.TRAIN])
    assert keys_with_group([table]) == {"DMSO"}


def test_a_tautomer_of_a_molecule_with_the_group_counts_as_one() -> None:
    # The same split key, and bonds that do not show the group.
    known = molecules_of(["CS(C)=O", "CSCO"], ["K", "K"], [Split.TRAIN, Split.TRAIN])
    divided = divide(known, _judges(), n_frames=1000, seed=0)
    assert "K" not in monomers(divided.base)


@pytest.fixture(scope="module")
def division() -> Division:
    return divide(_known(), _judges(), n_frames=60, seed=0)


def test_no_molecule_of_the_first_training_set_has_the_group(division: Division) -> None:
    assert not any(has_group(smiles) for smiles in division.base.molecules.smiles)
    assert len(division.base.frame_indices("train")) == 60
    assert len(division.base.frame_indices("validation"))


def test_no_two_parts_share_a_molecule_or_a_half_of_a_pair(division: Division) -> None:
    for one, other in combinations(fields(Division), 2):
        shared = monomers(getattr(division, one.name)) & monomers(getattr(division, other.name))
        assert not shared, f"{one.name} and {other.name}"


def test_traffic_may_be_trained_on_and_what_judges_may_not(division: Division) -> None:
    for traffic in (division.ordinary, division.first, division.second):
        assert len(traffic)
        assert set(traffic.split) == {Split.TRAIN}
        assert set(traffic.source) == {Source.ON_POLICY}
        assert traffic.temperature.max() <= 500.0
    for judge in (division.test_ordinary, division.test_group):
        assert len(judge)
        assert Split.TRAIN not in set(judge.split)


def test_the_group_is_in_both_waves_and_in_one_test_set(division: Division) -> None:
    for part in (division.first, division.second, division.test_group):
        assert all(has_group(smiles) for smiles in part.molecules.smiles)
    for part in (division.ordinary, division.test_ordinary):
        assert not any(has_group(smiles) for smiles in part.molecules.smiles)
    # Validation molecules with the group would have stopped and calibrated the first student.
    assert Split.VALIDATION in set(division.test_group.split)


def test_a_wave_without_what_was_captured_has_none_of_its_molecules(division: Division) -> None:
    captured = monomers(division.first.select(np.arange(4)))
    left = without(division.first, captured)
    assert 0 < len(left) < len(division.first)
    assert captured.isdisjoint(monomers(left))


def test_a_division_is_read_back_whole_or_not_at_all(division: Division, tmp_path: Path) -> None:
    save_division(division, tmp_path)
    again = load_division(tmp_path)
    assert again is not None
    for part in fields(Division):
        kept, read = getattr(division, part.name), getattr(again, part.name)
        assert read.content_hash() == kept.content_hash()
    (tmp_path / "second.h5").unlink()
    assert load_division(tmp_path) is None


def _known() -> Dataset:
    """Alkanes, sulfoxides and pairs of both, of the training and the validation split."""
    smiles, keys, splits = [], [], []
    for length in range(1, 41):
        chain = "C" * length
        for name, one in ((f"ALKANE{length}", chain), (f"OXIDE{length}", f"{chain}S(C)=O")):
            smiles.append(one)
            keys.append(name)
            splits.append(Split.VALIDATION if length % 8 == 0 else Split.TRAIN)
        if length % 8 and length > 1:
            for name, one in (("ALKANE1", "C"), ("OXIDE1", "CS(C)=O")):
                smiles.append(f"{chain}.{one}")
                keys.append(f"ALKANE{length}.{name}")
                splits.append(Split.TRAIN)
    return molecules_of(smiles, keys, splits)


def _judges() -> Dataset:
    smiles = ["CC(C)C", "CC(C)(C)C", "CC(C)S(C)(=O)=O"]
    return molecules_of(smiles, ["JUDGE1", "JUDGE2", "JUDGE3"], [Split.TEST] * 3)
