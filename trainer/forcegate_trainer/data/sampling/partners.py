"""Which molecules meet in a contact: kinds of contact and of charges, each with its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rdkit import Chem

from forcegate_client.dataset import Split
from forcegate_trainer.data.molecules.identity import Molecule, halides
from forcegate_trainer.data.sampling.contacts import CONTACTS
from forcegate_trainer.data.sampling.dimers import WATER_KEY, Pair
from forcegate_trainer.data.sampling.sites import ACCEPTORS, DONORS, HALOGENS, SiteKind

__all__ = ["ContactPair", "choose_contacts"]

MAX_HEAVY_ATOMS = 10
KINDS = {
    "hydrogen bond": 0.44,
    "halogen bond": 0.12,
    "stack": 0.13,
    "T-shape": 0.09,
    "donor on face": 0.07,
    "weak hydrogen bond": 0.06,
    "any": 0.09,
}
# Signs of the net charges of both, in any order.
CHARGES = {(0, 0): 0.56, (0, 1): 0.14, (0, -1): 0.14, (1, -1): 0.13, (1, 1): 0.015, (-1, -1): 0.015}
# Of neutral partners in hydrogen bonds; of anions.
WATER_SHARE = 0.2
HALIDE_SHARE = 0.15
MOST_TRIES = 60


@dataclass(frozen=True)
class ContactPair(Pair):
    """Two molecules of one split that meet at sites of one kind; ``number`` tells repeats apart."""

    kind: str
    number: int


@dataclass
class _Candidate:
    """A molecule that may be chosen."""

    molecule: Molecule

    @cached_property
    def mol(self) -> Chem.Mol:
        return Chem.AddHs(Chem.MolFromSmiles(self.molecule.smiles))

    @cached_property
    def sites(self) -> set[SiteKind]:
        """The kinds of sites that it has, whatever its geometry."""
        found = {SiteKind.ANY}
        if self.mol.HasSubstructMatch(DONORS):
            found.add(SiteKind.DONOR)
        if self.mol.HasSubstructMatch(ACCEPTORS):
            found.add(SiteKind.ACCEPTOR)
        if self.mol.HasSubstructMatch(HALOGENS):
            found.add(SiteKind.SIGMA_HOLE)
        if any(atom.GetIsAromatic() for atom in self.mol.GetAtoms()):
            found.add(SiteKind.FACE)
        if self.mol.HasSubstructMatch(Chem.MolFromSmarts("[#6]-[#1]")):
            found.add(SiteKind.EDGE)
        return found


def choose_contacts(
    molecules: Sequence[Molecule], count: int, split_seed: int, rng: np.random.Generator
) -> list[ContactPair]:
    """About ``count`` pairs of small molecules, fewer where there are too few of a kind.

    Splits get pairs in proportion to their small molecules; halide ions, which are no molecules of
    a table, belong to the split of their hydrogen halide.
    """
    small = [m for m in molecules if m.heavy_atoms <= MAX_HEAVY_ATOMS]
    pairs: list[ContactPair] = []
    for split in Split:
        members = [m for m in small if m.split(split_seed) == split]
        if not members:
            continue
        ions = [m for m in halides() if m.split(split_seed) == split]
        pool = _Pool([_Candidate(m) for m in members], [_Candidate(m) for m in ions])
        for number in range(round(count * len(members) / len(small))):
            pair = pool.draw(number, rng)
            if pair is not None:
                pairs.append(pair)
    return pairs


class _Pool:
    """The candidates of one split, by the sign of their charge."""

    def __init__(self, members: list[_Candidate], halides: list[_Candidate]) -> None:
        self.by_charge = {
            sign: [c for c in members if np.sign(c.molecule.charge) == sign] for sign in (-1, 0, 1)
        }
        self.halides = halides
        self.water = [c for c in self.by_charge[0] if c.molecule.split_key == WATER_KEY]

    def draw(self, number: int, rng: np.random.Generator) -> ContactPair | None:
        """A pair that can meet in the kind of contact that was drawn; None if none was found."""
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        needed = CONTACTS[kind].first, CONTACTS[kind].second
        for _ in range(MOST_TRIES):
            signs = list(CHARGES)[rng.choice(len(CHARGES), p=list(CHARGES.values()))]
            if rng.random() < 0.5:
                signs = signs[::-1]
            chosen = [self._one(sign, kind, rng) for sign in signs]
            if all(
                candidate is not None and site in candidate.sites
                for candidate, site in zip(chosen, needed, strict=True)
            ):
                first, second = (candidate.molecule for candidate in chosen if candidate)
                return ContactPair(first, second, kind, number)
        return None

    def _one(self, sign: int, kind: str, rng: np.random.Generator) -> _Candidate | None:
        if sign < 0 and self.halides and rng.random() < HALIDE_SHARE:
            return self.halides[rng.integers(len(self.halides))]
        if sign == 0 and kind == "hydrogen bond" and self.water and rng.random() < WATER_SHARE:
            return self.water[0]
        members = self.by_charge[sign]
        return members[rng.integers(len(members))] if members else None
