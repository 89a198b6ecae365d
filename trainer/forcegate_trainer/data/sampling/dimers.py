"""Pairs of molecules near each other: what makes liquids, crystals and binding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import vdw_radii
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from forcegate_client.dataset import Split
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.data.sampling.geometry import closest_contact, random_rotation, unit

CONTACT_RANGE = (1.6, 4.5)  # Å, closest distance between the monomers
# Contacts of heavy atoms at 1.6 Å would be bonds: no pair may be closer than this share of the
# sum of van der Waals radii (hydrogen bonds reach 0.65).
CLOSEST_SHARE = 0.62
WATER_KEY = "XLYOFNOQVPJJNP"
WATER_SHARE = 0.35
MAX_MONOMER_HEAVY_ATOMS = 8


@dataclass(frozen=True)
class Pair:
    """Two molecules of one split."""

    first: Molecule
    second: Molecule

    @property
    def smiles(self) -> str:
        """``A.B``: all atoms of A come before those of B."""
        return f"{self.first.smiles}.{self.second.smiles}"


def choose_pairs(
    molecules: Sequence[Molecule], count: int, split_seed: int, rng: np.random.Generator
) -> list[Pair]:
    """``count`` pairs of small molecules, a third of them with water; fewer if there are too few.

    Splits get pairs in proportion to their small molecules. Water is a partner only in the split
    that it belongs to itself.
    """
    small = [m for m in molecules if m.heavy_atoms <= MAX_MONOMER_HEAVY_ATOMS]
    pairs: list[Pair] = []
    for split in Split:
        members = [m for m in small if m.split(split_seed) == split]
        if not members:
            continue
        water = [m for m in members if m.split_key == WATER_KEY]
        for _ in range(round(count * len(members) / len(small))):
            first = members[rng.integers(len(members))]
            with_water = bool(water) and rng.random() < WATER_SHARE
            second = water[0] if with_water else members[rng.integers(len(members))]
            pairs.append(Pair(first, second))
    return pairs


def place(
    first_numbers: NDArray[np.int64],
    first: NDArray[np.float64],
    second_numbers: NDArray[np.int64],
    second: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64] | None:
    """Both molecules at a random mutual orientation and a random closest contact.

    ``first`` [n,3] and ``second`` [m,3] in Å; returns [n+m,3], or None if the contact that was
    drawn would press heavy atoms into each other.
    """
    target = rng.uniform(*CONTACT_RANGE)
    first = first - first.mean(axis=0)
    second = (second - second.mean(axis=0)) @ random_rotation(rng).T
    direction = unit(rng.standard_normal(3))
    # The closest distance grows with the separation once the molecules have passed each other.
    near, far = 0.0, 60.0
    for _ in range(50):
        middle = 0.5 * (near + far)
        if closest_contact(first, second + middle * direction) < target:
            near = middle
        else:
            far = middle
    placed = second + far * direction
    contacts = np.add.outer(vdw_radii[first_numbers], vdw_radii[second_numbers])
    if np.min(cdist(first, placed) / contacts) < CLOSEST_SHARE:
        return None
    return np.concatenate([first, placed])
