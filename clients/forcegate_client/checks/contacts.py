"""How close two atoms may come, and how far apart they may be, by their elements.

A student has seen no pair of atoms much closer than a bond, and what it answers there is no
repulsion: chlorine pressed into carbon was pulled further in. So pairs closer than a share of the
sum of their covalent radii are refused, unless the card says otherwise, and pairs that are hardly
further apart are remarked on. Of 88,000 frames that teachers labelled, hot and stretched ones among
them, none has a pair below the first share, and one in a thousand below the second.

An atom with no other within half again that sum is bound to nothing. That is meant of a halide ion;
of others it is what positions in bohr, read as Å, look like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers, chemical_symbols, covalent_radii

from forcegate_client.errors import InvalidStructure

__all__ = ["Alone", "Contact", "Contacts", "ShortestDistances", "too_close"]

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

_REFUSED = 0.70
_REMARKED = 0.75
_UNBOUND = 1.5
_HALOGENS = (9, 17, 35, 53)


@dataclass(frozen=True)
class Contact:
    """The pair of a structure that is closest for its elements; ``distance``, ``shortest`` in Å."""

    pair: tuple[int, int]
    distance: float
    shortest: float

    @property
    def names(self) -> str:
        """``C and Cl``."""
        return " and ".join(chemical_symbols[number] for number in self.pair)

    def error(self, structure: int) -> InvalidStructure:
        """What is said of a structure that is refused."""
        return too_close(
            f"{self.names} {self.distance:.3g} Å apart (periodic images included)",
            f"distances of at least {self.shortest:.3g} Å between them",
            structure,
        )

    @property
    def remark(self) -> str:
        """What is said of a structure that is answered all the same."""
        return (
            f"{self.names} {self.distance:.3g} Å apart: hardly any structure like it was learned "
            "from, so that energy and forces are a guess"
        )


@dataclass(frozen=True)
class Alone:
    """``atoms`` atoms of a structure are bound to no other; ``first`` is the first of them."""

    atoms: int
    first: int
    element: int

    @property
    def remark(self) -> str:
        """What is said of a structure that is answered all the same."""
        others = f" and {self.atoms - 1} more" if self.atoms > 1 else ""
        verb = "have" if self.atoms > 1 else "has"
        return (
            f"atom {self.first} ({chemical_symbols[self.element]}){others} {verb} no neighbor "
            f"within {_UNBOUND:g} times the sum of their covalent radii, so that nothing is bound "
            "there: check the unit of the positions, which is Å and not bohr"
        )


@dataclass(frozen=True)
class Contacts:
    """Structures with a pair that is too close, and those that are remarked on: with a pair that is
    remarkably close, or with an atom that is bound to none."""

    refused: dict[int, Contact]
    remarked: dict[int, Contact | Alone]


class ShortestDistances:
    """For each pair of elements, the distance (Å) below which nothing is computed."""

    def __init__(self, elements: list[int], floor: float, given: Mapping[str, float]) -> None:
        """``floor`` in Å holds for all pairs; ``given`` by pair, such as ``C-Cl``, wins over all.

        Raises:
            ValueError: if a pair is not named by two symbols.
        """
        # Up to the largest number: what no model knows is refused for its element.
        radii = np.where(np.isfinite(covalent_radii), covalent_radii, 0.0)
        sums = radii[:, None] + radii
        self._shortest: Float = np.maximum(_REFUSED * sums, floor)
        for name, distance in given.items():
            pair = [atomic_numbers.get(symbol, 0) for symbol in name.split("-")]
            if len(pair) != 2 or 0 in pair:
                raise ValueError(f"the pair {name!r}; expected two symbols such as C-Cl")
            self._shortest[tuple(pair)] = self._shortest[tuple(reversed(pair))] = distance
        self._remarkable: Float = _REMARKED / _REFUSED * self._shortest
        pairs = combinations_with_replacement(elements, 2)
        self._farthest = max(self._remarkable[pair] for pair in pairs)

    def between(self, one: int, other: int) -> float:
        """Of two elements, by atomic number."""
        return float(self._shortest[one, other])

    @property
    def farthest(self) -> float:
        """Å; no pair that is remarked on is as far apart."""
        return float(self._farthest)

    @property
    def remarkable(self) -> Float:
        """[Z + 1, Z + 1] in Å, by atomic number: from where on nothing is said of two atoms."""
        return self._remarkable

    def judged(self, pairs: Int, distances: Float, structures: Int) -> Contacts:
        """What the closest pair of each structure means.

        ``pairs`` [2, K] are the atomic numbers of atoms that are near each other, ``distances`` [K]
        in Å, and ``structures`` [K] the structure of each pair.
        """
        first, second = pairs
        ratios = distances / self._shortest.take(first * len(self._shortest) + second)
        (close,) = (ratios < _REMARKED / _REFUSED).nonzero()
        found = Contacts({}, {})
        if not len(close):
            return found
        # Of each structure the pair that is closest for its elements, once.
        for k in close[np.argsort(ratios[close], kind="stable")].tolist():
            b = int(structures[k])
            if b in found.refused or b in found.remarked:
                continue
            pair = (int(min(first[k], second[k])), int(max(first[k], second[k])))
            contact = Contact(pair, float(distances[k]), float(self._shortest[pair]))
            (found.refused if ratios[k] < 1.0 else found.remarked)[b] = contact
        return found

    def alone(
        self, atomic_numbers: Int, n_atoms: Int, isolation: Float
    ) -> dict[int, Contact | Alone]:
        """The structures, of ``n_atoms`` [B] each, with atoms bound to none, halogens excepted.

        ``isolation`` [N] is, of each atom, the distance to the neighbor that is closest for its
        elements over ``remarkable``. A single atom is what it was meant to be.
        """
        (unbound,) = (isolation > _UNBOUND / _REMARKED).nonzero()
        if not len(unbound):
            return {}
        ends = np.cumsum(n_atoms)
        owner = np.searchsorted(ends, unbound, side="right")
        numbers = atomic_numbers.take(unbound)
        meant = np.isin(numbers, _HALOGENS) | (n_atoms.take(owner) == 1)
        unbound, owner, numbers = unbound[~meant], owner[~meant], numbers[~meant]
        found: dict[int, Contact | Alone] = {}
        for b, first, count in zip(
            *np.unique(owner, return_index=True, return_counts=True), strict=True
        ):
            atom = int(unbound[first] - ends[b] + n_atoms[b])
            found[int(b)] = Alone(int(count), atom, int(numbers[first]))
        return found


def too_close(received: str, expected: str, structure: int) -> InvalidStructure:
    """Atoms of ``structure`` are, images included."""
    return InvalidStructure(
        received,
        expected=expected,
        action="check for overlapping atoms, the unit of the positions and the cell",
        code="atoms_too_close",
        structure=structure,
    )
