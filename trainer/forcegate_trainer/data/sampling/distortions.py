"""Geometries that molecular dynamics rarely visits: stretched bonds and turned torsions."""

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

STRETCH_RANGE = (0.8, 1.6)
# Below these a turned fragment runs into the rest.
CLOSEST_CONTACT = 1.5  # Å, between atoms three or more bonds apart


def open_bonds(mol: Chem.Mol) -> list[tuple[int, int]]:
    """Bonds outside rings: cutting one leaves two fragments."""
    return [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        for bond in mol.GetBonds()
        if not bond.IsInRing()
    ]


def rotatable_bonds(mol: Chem.Mol) -> list[tuple[int, int]]:
    """Single bonds outside rings with something to turn at either end."""
    return [
        (first, second)
        for first, second in open_bonds(mol)
        if mol.GetBondBetweenAtoms(first, second).GetBondType() == Chem.BondType.SINGLE
        and min(mol.GetAtomWithIdx(first).GetDegree(), mol.GetAtomWithIdx(second).GetDegree()) > 1
    ]


def beyond(mol: Chem.Mol, fixed: int, moving: int) -> NDArray[np.int64]:
    """Atoms on the ``moving`` side of a bond outside rings, i64."""
    reached, border = {moving}, [moving]
    while border:
        for neighbour in mol.GetAtomWithIdx(border.pop()).GetNeighbors():
            index = neighbour.GetIdx()
            if index != fixed and index not in reached:
                reached.add(index)
                border.append(index)
    return np.array(sorted(reached), dtype=np.int64)


def stretch(
    mol: Chem.Mol,
    positions: NDArray[np.float64],
    relaxed: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64] | None:
    """A random bond at 0.8 to 1.6 times its relaxed length; None if all bonds are in rings.

    ``positions`` and ``relaxed`` are [n,3] in Å. Moderate changes are the most frequent: far
    stretched bonds are mostly outside of what a closed-shell method describes.
    """
    candidates = open_bonds(mol)
    if not candidates:
        return None
    fixed, moving = candidates[rng.integers(len(candidates))]
    length = np.linalg.norm(relaxed[moving] - relaxed[fixed])
    factor = rng.triangular(STRETCH_RANGE[0], 1.0, STRETCH_RANGE[1])
    vector = positions[moving] - positions[fixed]
    current = np.linalg.norm(vector)
    changed = positions.copy()
    changed[beyond(mol, fixed, moving)] += vector / current * (factor * length - current)
    return changed


def turn(
    mol: Chem.Mol, positions: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64] | None:
    """A random rotatable bond turned by a random angle; None if there is none that has room."""
    candidates = rotatable_bonds(mol)
    if not candidates:
        return None
    far_apart = Chem.GetDistanceMatrix(mol) > 2
    for _ in range(10):
        fixed, moving = candidates[rng.integers(len(candidates))]
        atoms = beyond(mol, fixed, moving)
        axis = positions[moving] - positions[fixed]
        axis = axis / np.linalg.norm(axis)
        changed = positions.copy()
        changed[atoms] = positions[fixed] + _rotated(
            positions[atoms] - positions[fixed], axis, rng.uniform(-np.pi, np.pi)
        )
        distances = np.linalg.norm(changed[:, None] - changed[None, :], axis=-1)
        if not np.any(distances[far_apart] < CLOSEST_CONTACT):
            return changed
    return None


def _rotated(
    vectors: NDArray[np.float64], axis: NDArray[np.float64], angle: float
) -> NDArray[np.float64]:
    """Rodrigues' formula for [m,3] vectors and a unit axis."""
    along = np.outer(vectors @ axis, axis)
    turned = (vectors - along) * np.cos(angle) + np.cross(axis, vectors) * np.sin(angle)
    return np.asarray(along + turned)
