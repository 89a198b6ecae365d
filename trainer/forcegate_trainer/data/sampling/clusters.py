"""Clusters of 3 to 12 molecules: a solvent's own, and what it makes around a molecule or an ion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial.distance import cdist

from forcegate_client.dataset import Split
from forcegate_trainer.data.molecules.identity import Molecule, halides
from forcegate_trainer.data.molecules.structures import (
    atomic_numbers,
    conformers,
    hydrogenated,
    structure_of,
)
from forcegate_trainer.data.sampling.contacts import CONTACTS, ContactKind, approach
from forcegate_trainer.data.sampling.geometry import closest_contact
from forcegate_trainer.data.sampling.sites import SiteKind
from forcegate_trainer.errors import MoleculeError

__all__ = ["Cluster", "choose_clusters", "farthest_member", "grow", "put_together"]

Float = NDArray[np.float64]

# Weights; those that are in the split are used.
SOLVENTS = {
    "O": 10.0, "CO": 3.0, "CC#N": 2.0, "CC(C)O": 1.0, "CS(C)=O": 1.0, "CC(C)=O": 1.0, "NC=O": 1.0,
    "ClC(Cl)Cl": 0.5, "ClCCl": 0.5, "C1CCOC1": 0.5, "N": 0.5,
}  # fmt: skip
# Numbers of molecules, the first among them, with weights.
SIZES = {3: 4, 4: 4, 5: 3, 6: 3, 7: 2, 8: 2, 9: 1, 10: 1, 11: 0.7, 12: 0.7}
PURE_SHARE = 0.3
CHARGED_SHARE = 0.6
HALIDE_SHARE = 0.15
SECOND_SOLVENT = 0.15
MAX_HEAVY_ATOMS = 10
# Of molecules that are not bonded to each other, as a share of the sum of van der Waals radii.
CLOSEST_SHARE = 0.75
# A molecule that comes later mostly goes to the first one.
FIRST_SHARE = 0.5
MOST_TRIES = 40
_HYDROGEN_BOND = CONTACTS["hydrogen bond"]
_ACCEPTED = ContactKind(SiteKind.ACCEPTOR, SiteKind.DONOR, _HYDROGEN_BOND.bond, _HYDROGEN_BOND.rest)


@dataclass(frozen=True)
class Cluster:
    """Molecules of one split, the one in the middle first; ``number`` tells repeats apart."""

    members: tuple[Molecule, ...]
    number: int

    @property
    def smiles(self) -> str:
        """``A.B.B``: the atoms of each member in turn."""
        return ".".join(member.smiles for member in self.members)


def choose_clusters(
    molecules: Sequence[Molecule], count: int, split_seed: int, rng: np.random.Generator
) -> list[Cluster]:
    """About ``count`` clusters; splits get them in proportion to their small molecules."""
    small = [m for m in molecules if m.heavy_atoms <= MAX_HEAVY_ATOMS]
    clusters: list[Cluster] = []
    for split in Split:
        members = [m for m in small if m.split(split_seed) == split]
        solvents = [m for m in members if m.smiles in SOLVENTS]
        if not solvents:
            continue
        ions = [m for m in members if m.charge]
        bare = [m for m in halides() if m.split(split_seed) == split]
        for number in range(round(count * len(members) / len(small))):
            first = members[rng.integers(len(members))]
            if ions and rng.random() < CHARGED_SHARE:
                halide = bare and rng.random() < HALIDE_SHARE
                first = (bare if halide else ions)[rng.integers(len(bare if halide else ions))]
            clusters.append(Cluster(_members(first, solvents, rng), number))
    return clusters


def _members(
    first: Molecule, solvents: Sequence[Molecule], rng: np.random.Generator
) -> tuple[Molecule, ...]:
    sizes = np.array(list(SIZES.values()))
    size = int(rng.choice(list(SIZES), p=sizes / sizes.sum()))
    weights = np.array([SOLVENTS[solvent.smiles] for solvent in solvents])
    kinds = rng.choice(len(solvents), size=2, p=weights / weights.sum())
    main = solvents[kinds[0]]
    others = [
        solvents[kinds[1]] if rng.random() < SECOND_SOLVENT else main for _ in range(size - 1)
    ]
    return (main if rng.random() < PURE_SHARE else first, *others)


def grow(
    mols: Sequence[Chem.Mol], positions: Sequence[Float], rng: np.random.Generator
) -> Float | None:
    """The molecules put to each other one after the other, by hydrogen bonds where they can.

    ``positions`` are of each alone, [n,3] in Å. Returns those of all together, in order; None if
    one finds no room.
    """
    placed = [positions[0]]
    radii = [vdw_radii[atomic_numbers(mol)] for mol in mols]
    for index in range(1, len(mols)):
        around = np.concatenate(placed)
        closest = CLOSEST_SHARE * np.add.outer(np.concatenate(radii[:index]), radii[index])
        for _ in range(MOST_TRIES):
            host = 0 if rng.random() < FIRST_SHARE else int(rng.integers(index))
            kinds = [_HYDROGEN_BOND, _ACCEPTED, CONTACTS["any"]]
            kind = kinds[rng.choice(3, p=(0.45, 0.45, 0.1))]
            found = approach((mols[host], mols[index]), (placed[host], positions[index]), kind, rng)
            if found is None:
                continue
            distances = cdist(around, found.second)
            begin = sum(len(part) for part in placed[:host])
            # The host's own contact has been seen to.
            distances[begin : begin + len(placed[host])] = np.inf
            if np.all(distances >= closest):
                placed.append(found.second)
                break
        else:
            return None
    return np.concatenate(placed)


def put_together(smiles: str, rng: np.random.Generator, seed: int = 1) -> Atoms:
    """The molecules of ``A.B.C``, each relaxed alone, as :func:`grow` puts them to each other.

    Raises:
        MoleculeError: if one has no geometry, or finds no room.
    """
    mols = [hydrogenated(part) for part in smiles.split(".")]
    alone = [conformers(mol, 1, seed)[0] for mol in mols]
    for _ in range(MOST_TRIES):
        positions = grow(mols, alone, rng)
        if positions is not None:
            return structure_of(hydrogenated(smiles), positions)
    raise MoleculeError(f"no room was found for each molecule of {smiles}; leave some out")


def farthest_member(positions: Float, fragment: NDArray[np.int64]) -> float:
    """The largest distance (Å) from a member of a cluster to the closest atom of another."""
    return max(
        closest_contact(positions[fragment == part], positions[fragment != part])
        for part in range(int(fragment.max()) + 1)
    )
