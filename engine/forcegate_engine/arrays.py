"""Arrays on their way into the library and back: checked, contiguous, read in place."""

from __future__ import annotations

from ctypes import addressof, c_char
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_engine.errors import BadArgument
from forcegate_engine.library import Answers, Structures

__all__ = ["Batch", "Evaluation", "address", "array", "outputs_of"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """The answers for ``B`` structures with ``N`` atoms in all.

    ``energy`` [B] in eV; ``forces`` [N, 3] in eV/Å; ``virial`` [B, 3, 3] in eV, which is −stress
    times volume; ``energy_uncertainty`` [B] in eV; ``atom_novelty`` [N], 1 for a typical atom of
    the training set; ``charges`` [N] in e, None if the student knows none.
    """

    energy: Float
    forces: Float
    virial: Float
    energy_uncertainty: Float
    atom_novelty: Float
    charges: Float | None


@dataclass(frozen=True)
class Batch:
    """``B`` structures with ``N`` atoms; the arrays live as long as the library reads them."""

    n_atoms: Int
    atomic_numbers: Int
    positions: Float
    cells: Float | None
    pbc: npt.NDArray[np.bool_] | None
    charges: Float | None

    @classmethod
    def of(
        cls,
        atomic_numbers: npt.ArrayLike,
        positions: npt.ArrayLike,
        n_atoms: npt.ArrayLike | None,
        cells: npt.ArrayLike | None,
        pbc: npt.ArrayLike | None,
        charges: npt.ArrayLike | None,
    ) -> Batch:
        """The arrays in their types; what is there already is not copied.

        Raises:
            BadArgument: if shapes contradict each other, or a value changes in its type.
        """
        numbers = array("atomic_numbers", atomic_numbers, np.int64, (None,))
        total = len(numbers)
        counts = array("n_atoms", [total] if n_atoms is None else n_atoms, np.int64, (None,))
        size = len(counts)
        return cls(
            n_atoms=counts,
            atomic_numbers=numbers,
            positions=array("positions", positions, np.float64, (total, 3)),
            cells=None if cells is None else array("cells", cells, np.float64, (size, 3, 3)),
            pbc=None if pbc is None else array("pbc", pbc, np.bool_, (size, 3)),
            charges=None if charges is None else array("charges", charges, np.float64, (size,)),
        )

    def structures(self) -> Structures:
        """As the library takes them; ``self`` must outlive it."""
        arrays = (self.n_atoms, self.atomic_numbers, self.positions)
        options = (self.cells, self.pbc, self.charges)
        size, total = len(self.n_atoms), len(self.atomic_numbers)
        return Structures(size, total, *map(address, arrays), *map(address, options))

    def empty_answer(self, charges: bool) -> Evaluation:
        """Room for the answers."""
        size, total = len(self.n_atoms), len(self.atomic_numbers)
        return Evaluation(
            energy=np.empty(size),
            forces=np.empty((total, 3)),
            virial=np.empty((size, 3, 3)),
            energy_uncertainty=np.empty(size),
            atom_novelty=np.empty(total),
            charges=np.empty(total) if charges else None,
        )


def outputs_of(answer: Evaluation) -> Answers:
    """As the library writes them; ``answer`` must outlive it."""
    return Answers(
        *map(address, (answer.energy, answer.forces, answer.virial, answer.charges)),
        *map(address, (answer.energy_uncertainty, answer.atom_novelty)),
    )


def array(
    name: str, values: npt.ArrayLike, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """Contiguous and of that type, ``values`` themselves if they are; None in a shape is any."""
    if isinstance(values, np.ndarray) and values.dtype == dtype and values.flags.c_contiguous:
        exact = values
    else:
        exact = _converted(name, values, dtype)
    fits = exact.ndim == len(shape) and all(
        known is None or known == got for known, got in zip(shape, exact.shape, strict=True)
    )
    if not fits:
        told = ", ".join("any" if extent is None else str(extent) for extent in shape)
        raise BadArgument(f"{name} of shape {exact.shape}; expected [{told}]")
    return exact


def _converted(name: str, values: npt.ArrayLike, dtype: type[np.generic]) -> npt.NDArray[Any]:
    try:
        given = np.asarray(values)
        # A cast that cannot be undone would change what was asked.
        alike = not given.size or np.can_cast(given.dtype, dtype, casting="same_kind")
        if not alike and not (given.astype(dtype) == given).all():
            raise ValueError(f"{given.dtype} values that are no {np.dtype(dtype)}")
        return np.ascontiguousarray(given, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadArgument(f"{name}: {error}") from error


def address(values: npt.NDArray[Any] | None) -> int | None:
    """Where an array begins; it must outlive whoever reads there."""
    if values is None:
        return None
    if values.flags.writeable and values.size:
        # A fifth of the time that numpy's own way takes, which is most of a small call.
        return addressof(c_char.from_buffer(values))  # type: ignore[arg-type]
    return values.ctypes.data
