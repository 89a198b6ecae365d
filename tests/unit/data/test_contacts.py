"""Molecules meet as they bind: site to site, from touching to 8 Å, in pairs and in clusters."""

import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from scipy.spatial.distance import cdist, pdist

from forcegate_client.dataset import Dataset, Source, Split, load_dataset
from forcegate_trainer.cli.app import main
from forcegate_trainer.data.labelling.checks import THERMAL_BOND_FACTOR, bonds, count_fragments
from forcegate_trainer.data.molecules.identity import halides, identify
from forcegate_trainer.data.molecules.structures import conformers, hydrogenated
from forcegate_trainer.data.molecules.table import write_table
from forcegate_trainer.data.sampling.complexes import sample_complexes
from forcegate_trainer.data.sampling.contacts import CHARGED_GAP, CONTACTS, FARTHEST, approach
from forcegate_trainer.data.sampling.settings import ComplexSettings
from forcegate_trainer.data.sampling.sites import SiteKind, sites_of
from forcegate_trainer.errors import MoleculeError, SettingsError

EXACT = 1e-9
# Positions are stored in steps of 1e-4 Å.
STORED = 4e-4
MOLECULES = [
    identify(smiles)
    for smiles in (
        "O", "CC#N", "C=O", "CC(C)=O", "c1ccncc1", "Brc1ccccc1", "CI", "NC=O", "CC(=O)[O-]",
        "C[n+]1ccn(C)c1", "CCC[NH3+]", "C[NH+](C)C", "[NH3+]CC(=O)[O-]", "OB(O)c1ccccc1",
        "CP(C)(C)=O", "C[Si](C)(C)O", "CSC", "c1ccsc1", "FC(F)F", "Oc1ccccc1",
        "c1cc[nH]c1", "[O-]c1ccccc1",
    )
    if identify(smiles).split(0) == Split.TRAIN
]  # fmt: skip
SETTINGS = ComplexSettings(pairs=60, clusters=8, seed=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("contacts") / "c.h5"
    return sample_complexes(MOLECULES, out, SETTINGS, workers=0)


def parts(dataset: Dataset, frame: int) -> list[np.ndarray]:
    where = dataset.atoms_of(frame)
    fragment = dataset.fragment[where]
    return [dataset.positions[where][fragment == part] for part in range(fragment.max() + 1)]


def of_source(dataset: Dataset, source: Source) -> list[int]:
    return np.flatnonzero(dataset.source == source).tolist()


def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def met(first: str, second: str, kind: str, draws: int = 20):
    """Approaches of two molecules, with their own geometries."""
    mols = hydrogenated(first), hydrogenated(second)
    alone = tuple(
        conformers(mol, 1, 5)[0] if mol.GetNumAtoms() > 1 else np.zeros((1, 3)) for mol in mols
    )
    random = rng()
    found = [approach(mols, alone, CONTACTS[kind], random) for _ in range(draws)]
    return mols, alone, [one for one in found if one is not None]


def angle(first: np.ndarray, second: np.ndarray) -> float:
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


@pytest.mark.parametrize(
    ("first", "second", "kind", "expected"),
    [
        ("O", "O", "hydrogen bond", (1.6, 2.0)),
        ("[NH3+]CC", "CC(=O)[O-]", "hydrogen bond", (1.6, 2.1)),
        ("Brc1ccccc1", "c1ccncc1", "halogen bond", (2.4, 3.1)),
        ("CI", "[Cl-]", "halogen bond", (2.7, 3.3)),
    ],
)
def test_a_bond_between_molecules_is_short_and_straight(
    first: str, second: str, kind: str, expected: tuple[float, float]
) -> None:
    mols, _, found = met(first, second, kind)
    assert len(found) >= 5
    for one in found:
        distances = cdist(one.first, one.second)
        head, tail = np.unravel_index(np.argmin(distances), distances.shape)
        inner = mols[0].GetAtomWithIdx(int(head)).GetNeighbors()
        if len(inner) != 1 or mols[0].GetAtomWithIdx(int(head)).GetAtomicNum() not in (1, 35, 53):
            continue
        own = one.first[head] - one.first[inner[0].GetIdx()]
        assert angle(own, one.second[tail] - one.first[head]) < 45
    shortest = min(one.contact for one in found)
    assert expected[0] <= shortest <= expected[1]


@pytest.mark.parametrize(("kind", "planes"), [("stack", (0.0, 25.0)), ("T-shape", (50.0, 90.0))])
def test_rings_lie_on_each_other_or_stand_on_each_other(
    kind: str, planes: tuple[float, float]
) -> None:
    mols, _, found = met("c1ccncc1", "c1ccncc1", kind)
    assert len(found) >= 5
    ring = list(mols[0].GetRingInfo().AtomRings()[0])
    for one in found:
        normals = []
        for positions in (one.first, one.second):
            corners = positions[ring] - positions[ring].mean(axis=0)
            normals.append(np.linalg.svd(corners)[2][2])
        between = angle(normals[0], normals[1])
        assert planes[0] <= min(between, 180 - between) <= planes[1]
        assert 2.0 < one.contact < 4.0


def test_an_approach_moves_rigid_molecules_to_the_distance_that_was_asked_for() -> None:
    _, alone, found = met("CC#N", "Oc1ccccc1", "any", draws=4)
    for one in found:
        for distance in (one.contact + 0.1, 4.0, 7.5):
            both = one.at(distance)
            first, second = both[: len(alone[0])], both[len(alone[0]) :]
            assert cdist(first, second).min() == pytest.approx(distance, abs=1e-6)
            for own, moved in zip(alone, (first, second), strict=True):
                np.testing.assert_allclose(pdist(moved), pdist(own), atol=EXACT)


def test_what_has_no_site_of_a_kind_does_not_meet_there() -> None:
    assert met("C", "O", "hydrogen bond")[2] == []
    assert met("CCCl", "C", "halogen bond")[2] == []
    assert met("C1CCCCC1", "c1ccccc1", "stack")[2] == []


def test_directions_of_sites_leave_the_molecule() -> None:
    mol = hydrogenated("NC(=O)c1ccc(Br)cc1")
    positions = conformers(mol, 1, 3)[0]
    middle = positions.mean(axis=0)
    for kind in (SiteKind.DONOR, SiteKind.SIGMA_HOLE, SiteKind.EDGE):
        found = sites_of(mol, positions, kind, rng())
        assert found
        for site in found:
            assert np.linalg.norm(site.direction) == pytest.approx(1.0)
            assert (site.point - middle) @ site.direction > 0
    acceptors = {site.atom for site in sites_of(mol, positions, SiteKind.ACCEPTOR, rng())}
    # The amide's oxygen, not its nitrogen, whose lone pair is in the double bond.
    assert {mol.GetAtomWithIdx(index).GetSymbol() for index in acceptors if index is not None} == {
        "O"
    }


def test_pairs_go_from_contact_to_eight_angstroms_with_the_same_monomers(made: Dataset) -> None:
    frames = of_source(made, Source.CONTACT)
    gaps = {}
    for frame in frames:
        first, second = parts(made, frame)
        gaps[frame] = cdist(first, second).min()
    assert 1.5 < min(gaps.values()) < 2.1
    assert 6.0 < max(gaps.values()) <= FARTHEST + STORED
    for earlier, later in itertools.pairwise(frames):
        if made.molecule_id[earlier] != made.molecule_id[later] or gaps[earlier] > gaps[later]:
            continue
        for one, other in zip(parts(made, earlier), parts(made, later), strict=True):
            if len(one) > 1:
                np.testing.assert_allclose(pdist(one), pdist(other), atol=STORED)


def test_no_frame_with_a_net_charge_lies_where_the_teacher_has_no_label(made: Dataset) -> None:
    for frame in of_source(made, Source.CONTACT):
        smiles = made.molecules.smiles[int(made.molecule_id[frame])]
        charged = [Chem.GetFormalCharge(Chem.MolFromSmiles(part)) for part in smiles.split(".")]
        gap = cdist(*parts(made, frame)).min()
        if any(charged):
            assert not CHARGED_GAP[0] + STORED < gap < CHARGED_GAP[1] - STORED


def test_no_two_molecules_are_pressed_into_each_other(made: Dataset) -> None:
    for frame in range(len(made)):
        where = made.atoms_of(frame)
        near = bonds(made.atomic_numbers[where], made.positions[where], 1.0)
        fragment = made.fragment[where]
        assert not np.any(near & (fragment[:, None] != fragment[None, :]))


def test_neutral_molecules_ions_and_halides_meet_in_every_kind_of_pair(made: Dataset) -> None:
    met_charges: Counter[tuple[int, ...]] = Counter()
    halide = {ion.smiles for ion in halides()}
    with_halide = 0
    for row in np.unique(made.molecule_id).tolist():
        members = made.molecules.smiles[row].split(".")
        charges = [Chem.GetFormalCharge(Chem.MolFromSmiles(member)) for member in members]
        assert made.molecules.charge[row] == sum(charges)
        if len(members) == 2:
            met_charges[tuple(sorted(charges))] += 1
            with_halide += bool(halide & set(members))
    assert {(0, 0), (-1, 0), (0, 1), (-1, 1)} <= set(met_charges)
    assert met_charges[0, 0] > met_charges[-1, 1]
    assert with_halide


def test_clusters_are_three_to_twelve_molecules_in_touch(made: Dataset) -> None:
    frames = of_source(made, Source.CLUSTER)
    assert frames
    for frame in frames:
        row = int(made.molecule_id[frame])
        members = made.molecules.smiles[row].split(".")
        positions = parts(made, frame)
        assert 3 <= len(members) == len(positions) <= 12
        where = made.atoms_of(frame)
        for part, smiles in enumerate(members):
            own = made.fragment[where] == part
            numbers = made.atomic_numbers[where][own]
            assert len(numbers) == hydrogenated(smiles).GetNumAtoms()
            whole = bonds(numbers, positions[part], THERMAL_BOND_FACTOR)
            assert count_fragments(whole) == 1
            others = np.concatenate([p for index, p in enumerate(positions) if index != part])
            assert cdist(positions[part], others).min() < 4.0 + STORED


def test_both_molecules_of_a_pair_belong_to_one_split(tmp_path: Path) -> None:
    many = [identify("C" * n + end) for n in range(1, 8) for end in ("O", "N", "F", "Br", "#N")]
    many = [m for m in many if m.smiles != "CCO"]
    settings = ComplexSettings(pairs=30, clusters=0, splits=("train", "validation", "test"))
    found = sample_complexes(many, tmp_path / "c.h5", settings, workers=0)
    known = {m.smiles: m.split(0) for m in many} | {m.smiles: m.split(0) for m in halides()}
    for row, smiles in enumerate(found.molecules.smiles):
        assert {known[part] for part in smiles.split(".")} == {found.molecules.split[row]}


def test_a_halide_has_the_split_of_its_hydrogen_halide() -> None:
    for ion in halides():
        symbol = ion.smiles.strip("[-]")
        assert ion.split_key == identify(symbol).split_key
        assert ion.charge == -1


def test_contacts_depend_on_molecules_seed_and_settings_alone(tmp_path: Path) -> None:
    few = ComplexSettings(pairs=6, clusters=2, seed=1)
    first, again = (
        sample_complexes(MOLECULES, tmp_path / name, few, workers=0) for name in ("a.h5", "b.h5")
    )
    other = sample_complexes(
        MOLECULES, tmp_path / "c.h5", ComplexSettings(pairs=6, clusters=2, seed=2), workers=0
    )
    assert first.content_hash() == again.content_hash() != other.content_hash()


def test_nothing_to_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not 0 of both"):
        ComplexSettings(pairs=0, clusters=0)
    large = [identify("C" * 20)]
    with pytest.raises(MoleculeError, match="give more small molecules"):
        sample_complexes(large, tmp_path / "c.h5", ComplexSettings(pairs=3), workers=0)


def test_the_command_makes_frames_that_know_their_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "m.csv", MOLECULES, 0)
    out = tmp_path / "c.h5"
    arguments = f"contacts {tmp_path}/m.csv --out {out} --pairs 3 --clusters 1 --workers 0"
    monkeypatch.setattr(sys, "argv", ["forcegate-train", *arguments.split()])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    frames = load_dataset(out)
    assert {int(frames.fragment[frames.atoms_of(f)].max()) for f in range(len(frames))} >= {1}
    assert set(frames.source.tolist()) == {Source.CONTACT, Source.CLUSTER}
