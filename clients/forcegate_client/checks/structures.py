"""Refuse what the model or physics does not allow, before anything is computed.

Every check looks at all structures at once; only structures that fail one cost a Python loop. Flags
are counted where ``any`` would do: for the few of a single molecule that is several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from forcegate_client.checks.cells import check_cells
from forcegate_client.errors import InvalidStructure, UnprocessableRequest
from forcegate_client.messages import PROPERTIES
from forcegate_client.structures import StructureBatch

__all__ = ["Known", "Problems", "check_properties", "check_structures", "without"]

# Structure index → what is wrong with it.
Problems = dict[int, InvalidStructure]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]

_OF_CHARGES = frozenset({"charges", "dipole"})

# Coordinates beyond this are the debris of a trajectory that blew up.
MAX_COORDINATE = 1e6


class Known(Protocol):
    """What a model's card says of the structures that it takes; ``charges``: whether of ions."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def elements(self) -> Sequence[int]: ...
    @property
    def cutoff(self) -> float: ...
    @property
    def minimum_distance(self) -> float: ...
    @property
    def charges(self) -> bool: ...


def check_properties(properties: Sequence[str], card: Known) -> None:
    """Raise unless the model of ``card`` has all ``properties``, and there is at least one.

    Raises:
        UnprocessableRequest: naming the first that is not.
    """
    unknown = [name for name in properties if name not in PROPERTIES]
    if unknown or not properties:
        raise UnprocessableRequest(
            f"property {unknown[0][:80]!r}" if unknown else "no properties",
            expected=f"one or more of {', '.join(PROPERTIES)}",
            action="correct properties",
            code="property_unknown",
        )
    if not card.charges:
        for name in _OF_CHARGES.intersection(properties):
            raise UnprocessableRequest(
                f"property {name!r} of {card.name} {card.version}, which knows no charges",
                expected="one or more of "
                + ", ".join(known for known in PROPERTIES if known not in _OF_CHARGES),
                action="choose a model of interface 2 (`forcegate models` shows them), or leave "
                f"{name} out",
                code="property_unsupported",
            )


def check_structures(batch: StructureBatch, card: Known, properties: Sequence[str]) -> Problems:
    """The first problem of each structure that has one; distances come later, with the graph."""
    problems: Problems = {}
    checks = [_atoms, _elements, _electrons]
    if not _within(batch.positions) or not _within(batch.cells):
        checks += [_finite, _range]
    for check in checks:
        for error in check(batch, card):
            problems.setdefault(_index(error), error)
    if np.count_nonzero(batch.pbc):
        usable, index = without(batch, problems)
        for error in check_cells(usable, card.cutoff, card.minimum_distance):
            error.structure = int(index[_index(error)])
            problems.setdefault(error.structure, error)
    for name, check_periodicity in (("stress", _stress), ("dipole", _dipole)):
        if name in properties:
            for error in check_periodicity(batch):
                problems.setdefault(_index(error), error)
    return problems


def without(batch: StructureBatch, problems: Problems) -> tuple[StructureBatch, Int]:
    """The structures that have none of ``problems``, and their indices [K], ascending."""
    index = np.arange(len(batch))
    if not problems:
        return batch, index
    index = np.setdiff1d(index, list(problems))
    return batch.select(index), index


def _index(error: InvalidStructure) -> int:
    assert error.structure is not None
    return error.structure


def _each(
    bad: Bool, code: str, describe: Callable[[int], tuple[str, str, str]]
) -> Iterator[InvalidStructure]:
    if not np.count_nonzero(bad):
        return
    for index in np.flatnonzero(bad).tolist():
        received, expected, action = describe(index)
        yield InvalidStructure(
            received, expected=expected, action=action, code=code, structure=index
        )


def _any_in_row(flags: Bool) -> Bool:
    return cast(Bool, flags.any(axis=tuple(range(1, flags.ndim))))


def _owners(batch: StructureBatch, bad_atoms: Bool) -> Bool:
    """[B]; the structures that one of ``bad_atoms`` [N] belongs to."""
    owners = np.zeros(len(batch), dtype=np.bool_)
    if np.count_nonzero(bad_atoms):
        owners[batch.structure_index[bad_atoms]] = True
    return owners


def _atoms(batch: StructureBatch, card: Known) -> Iterator[InvalidStructure]:
    return _each(
        batch.n_atoms == 0,
        "no_atoms",
        lambda _: ("0 atoms", "at least one atom", "leave empty structures out"),
    )


def _elements(batch: StructureBatch, card: Known) -> Iterator[InvalidStructure]:
    # Numbers that no table holds fall on entries that are never set.
    bad = _unknown(tuple(card.elements)).take(batch.atomic_numbers, mode="clip")
    if not np.count_nonzero(bad):
        return iter(())

    def describe(index: int) -> tuple[str, str, str]:
        atoms = slice(*batch.offsets[index : index + 2])
        strangers = np.unique(batch.atomic_numbers[atoms][bad[atoms]]).tolist()
        return (
            f"element {', '.join(map(_symbol, strangers))}",
            f"only {', '.join(map(_symbol, card.elements))}, the elements of {card.name}",
            "choose a model that knows the element, or leave the structure out",
        )

    return _each(_owners(batch, bad), "element_unsupported", describe)


@lru_cache(maxsize=64)
def _unknown(elements: tuple[int, ...]) -> Bool:
    """[256]; for each atomic number, whether it is none of ``elements``."""
    unknown = np.ones(256, dtype=np.bool_)
    unknown[list(elements)] = False
    return unknown


def _symbol(number: int) -> str:
    known = 0 < number < len(chemical_symbols)
    return str(chemical_symbols[number]) if known else f"with atomic number {number}"


def _within(lengths: npt.NDArray[np.float64]) -> bool:
    # NaN compares as false, so that one pass over the numbers settles both questions.
    return int(np.count_nonzero(np.abs(lengths) <= MAX_COORDINATE)) == lengths.size


def _finite(batch: StructureBatch, card: Known) -> Iterator[InvalidStructure]:
    bad_atoms = _any_in_row(~np.isfinite(batch.positions))
    bad_cells = _any_in_row(~np.isfinite(batch.cells))

    def describe(index: int) -> tuple[str, str, str]:
        if bad_cells[index]:
            where = "cell"
        else:
            start, stop = batch.offsets[index : index + 2].tolist()
            where = f"position of atom {int(np.argmax(bad_atoms[start:stop]))}"
        return (
            f"NaN or infinity in the {where}",
            "finite numbers in Å",
            "look at the structure's last step",
        )

    return _each(_owners(batch, bad_atoms) | bad_cells, "not_finite", describe)


def _range(batch: StructureBatch, card: Known) -> Iterator[InvalidStructure]:
    bad_atoms = _any_in_row(np.abs(batch.positions) > MAX_COORDINATE)
    bad = _owners(batch, bad_atoms) | _any_in_row(np.abs(batch.cells) > MAX_COORDINATE)
    return _each(
        bad,
        "coordinate_out_of_range",
        lambda _: (
            f"a coordinate or lattice vector beyond {MAX_COORDINATE:g} Å",
            "a structure in Å near the origin",
            "look at the structure's last step, or move it",
        ),
    )


def _electrons(batch: StructureBatch, card: Known) -> Iterator[InvalidStructure]:
    if not card.charges and np.count_nonzero(batch.charges):
        yield from _each(
            batch.charges != 0,
            "charge_unsupported",
            lambda index: (
                f"charge {batch.charges[index]}",
                f"charge 0: {card.name} {card.version} describes neutral molecules",
                "choose a model that knows charges (interface 2), or another method",
            ),
        )
    yield from _each(
        batch.multiplicities != 1,
        "multiplicity_unsupported",
        lambda index: (
            f"multiplicity {batch.multiplicities[index]}",
            "multiplicity 1: the model describes closed shells",
            "choose another method for open shells",
        ),
    )


def _stress(batch: StructureBatch) -> Iterator[InvalidStructure]:
    open_axes = _any_in_row(~batch.pbc)
    return _each(
        open_axes,
        "stress_undefined",
        lambda index: (
            f"stress of a structure with pbc {batch.pbc[index].tolist()}",
            "periodicity along all three axes",
            "leave stress out of properties for this structure",
        ),
    )


def _dipole(batch: StructureBatch) -> Iterator[InvalidStructure]:
    return _each(
        _any_in_row(batch.pbc),
        "dipole_undefined",
        lambda index: (
            f"dipole of a structure with pbc {batch.pbc[index].tolist()}",
            "no periodicity",
            "leave dipole out of properties for this structure",
        ),
    )
