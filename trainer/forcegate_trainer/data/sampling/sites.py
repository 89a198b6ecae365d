"""Where a molecule touches others: donors, acceptors, sigma holes, faces and edges of rings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from forcegate_trainer.data.sampling.geometry import perpendicular, unit

__all__ = ["Site", "SiteKind", "sites_of"]

Float = NDArray[np.float64]

# The first atom takes part; of donors, the hydrogen that is bonded to it.
DONORS = Chem.MolFromSmarts("[N,O,S,P;!H0,$(*[#1])]")
ACCEPTORS = Chem.MolFromSmarts(
    "[$([O,S;!+]),$([N;X1,X2,X3^3;!+]),$([n;X2;!+]),$([P;X3^3;!+]),$([F,Cl,Br,I;-]),$([F]-[#6,#5-]),"
    "$([C-]#*),$([c-,n-,C-;X2,X3])]"
)
HALOGENS = Chem.MolFromSmarts("[Cl,Br,I;X1]-[#6]")
# Degrees between the direction in which lone pairs point on average and one that is drawn.
MOST_TILT = 55.0


class SiteKind(StrEnum):
    """What a site of a molecule is to another molecule."""

    DONOR = "donor"
    ACCEPTOR = "acceptor"
    SIGMA_HOLE = "sigma hole"
    EDGE = "edge"
    FACE = "face"
    ANY = "any"


@dataclass(frozen=True)
class Site:
    """A place at which another molecule may be put.

    ``point`` [3] in Å and ``direction`` [3], a unit vector that leaves the molecule there; ``atom``
    is the index of the atom at the point, None for the middle of a ring.
    """

    atom: int | None
    point: Float
    direction: Float


def sites_of(
    mol: Chem.Mol, positions: Float, kind: SiteKind, rng: np.random.Generator
) -> list[Site]:
    """The sites of one kind; directions of acceptors, faces and any atom are drawn."""
    return _FINDERS[kind](mol, positions, rng)


def _donors(mol: Chem.Mol, positions: Float, rng: np.random.Generator) -> list[Site]:
    return [
        _end_of_bond(positions, heavy, neighbour.GetIdx())
        for (heavy,) in mol.GetSubstructMatches(DONORS)
        for neighbour in mol.GetAtomWithIdx(heavy).GetNeighbors()
        if neighbour.GetAtomicNum() == 1
    ]


def _sigma_holes(mol: Chem.Mol, positions: Float, rng: np.random.Generator) -> list[Site]:
    return [
        _end_of_bond(positions, carbon, halogen)
        for halogen, carbon in mol.GetSubstructMatches(HALOGENS)
    ]


def _edges(mol: Chem.Mol, positions: Float, rng: np.random.Generator) -> list[Site]:
    """Hydrogens of carbon, those of rings, triple bonds and charged groups before all others."""
    hydrogens = [
        (atom.GetIdx(), atom.GetNeighbors()[0])
        for atom in mol.GetAtoms()
        if atom.GetAtomicNum() == 1 and atom.GetDegree() == 1
    ]
    carbons = [(hydrogen, other) for hydrogen, other in hydrogens if other.GetAtomicNum() == 6]
    acid = [
        (hydrogen, other)
        for hydrogen, other in carbons
        if other.GetIsAromatic() or other.GetHybridization() == Chem.HybridizationType.SP
    ]
    return [
        _end_of_bond(positions, other.GetIdx(), hydrogen) for hydrogen, other in acid or carbons
    ]


def _acceptors(mol: Chem.Mol, positions: Float, rng: np.random.Generator) -> list[Site]:
    return [
        Site(index, positions[index], tilted(_away(mol, positions, index, rng), MOST_TILT, rng))
        for index, *_ in mol.GetSubstructMatches(ACCEPTORS)
    ]


def _faces(mol: Chem.Mol, positions: Float, rng: np.random.Generator) -> list[Site]:
    found = []
    for ring in mol.GetRingInfo().AtomRings():
        if not all(mol.GetAtomWithIdx(index).GetIsAromatic() for index in ring):
            continue
        corners = positions[list(ring)]
        middle = corners.mean(axis=0)
        normal = np.linalg.svd(corners - middle)[2][2] * (1.0 if rng.random() < 0.5 else -1.0)
        found.append(Site(None, middle, normal))
    return found


def _any(mol: Chem.Mol, positions: Float, rng: np.random.Generator) -> list[Site]:
    return [
        Site(index, positions[index], _away(mol, positions, index, rng))
        for index in range(mol.GetNumAtoms())
    ]


_FINDERS: dict[SiteKind, Callable[[Chem.Mol, Float, np.random.Generator], list[Site]]] = {
    SiteKind.DONOR: _donors,
    SiteKind.ACCEPTOR: _acceptors,
    SiteKind.SIGMA_HOLE: _sigma_holes,
    SiteKind.EDGE: _edges,
    SiteKind.FACE: _faces,
    SiteKind.ANY: _any,
}


def tilted(direction: Float, most: float, rng: np.random.Generator) -> Float:
    """A direction within ``most`` degrees of another."""
    angle = np.deg2rad(most) * rng.random()
    return np.asarray(np.cos(angle) * direction + np.sin(angle) * perpendicular(direction, rng))


def _end_of_bond(positions: Float, inner: int, outer: int) -> Site:
    return Site(outer, positions[outer], unit(positions[outer] - positions[inner]))


def _away(mol: Chem.Mol, positions: Float, index: int, rng: np.random.Generator) -> Float:
    """The direction that leaves an atom's neighbours behind; across them where they cancel."""
    neighbours = [other.GetIdx() for other in mol.GetAtomWithIdx(index).GetNeighbors()]
    towards = [unit(positions[other] - positions[index]) for other in neighbours]
    total = -np.sum(towards, axis=0) if towards else np.zeros(3)
    if np.linalg.norm(total) > 0.2:
        return unit(total)
    if len(towards) >= 2:
        return unit(np.cross(towards[0], towards[1]) + 1e-3 * rng.standard_normal(3))
    return unit(rng.standard_normal(3))
