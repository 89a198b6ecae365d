"""Images that are evaluated together: whichever is asked first, one request answers for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from forcegate_client.electrons import electrons_of
from forcegate_client.errors import ForcegateError
from forcegate_client.http.calculator import ModelCalculator

__all__ = ["ImageCalculator", "evaluate_together"]

# A band that is turned into place before each look at its forces moves by this much, and less.
_ROUNDING_A = 1e-12


def evaluate_together(images: Sequence[Atoms], calculator: ModelCalculator) -> None:
    """Give each of ``images`` a calculator of its own, behind which all of them are one batch.

    When one is asked for what it does not know, ``calculator`` is asked about it and about all
    others that have changed since, in one request. Any method of ASE that moves its images before
    it looks at their forces costs one request an iteration so.

    Raises:
        ValueError: if an image is there twice: it would be moved twice.
    """
    if len({id(atoms) for atoms in images}) != len(images):
        raise ValueError("the same Atoms object is there twice; give each image a copy")
    members: list[tuple[Atoms, ImageCalculator]] = []
    for atoms in images:
        atoms.calc = ImageCalculator(calculator, members)
        members.append((atoms, atoms.calc))


class ImageCalculator(Calculator):  # type: ignore[misc]  # ASE has no type information
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) of one image of several."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]
    results: dict[str, Any]
    atoms: Any

    def __init__(
        self, shared: ModelCalculator, members: list[tuple[Atoms, ImageCalculator]]
    ) -> None:
        """``members`` are all images with their calculators, this one among them."""
        super().__init__()
        self._shared, self._members = shared, members
        self._electrons: tuple[int, int] | None = None

    def check_state(self, atoms: Atoms, tol: float = _ROUNDING_A) -> list[str]:
        """Everything, if anything differs from the last calculation by more than rounding."""
        known = self.atoms
        same = (
            known is not None
            and np.array_equal(known.numbers, atoms.numbers)
            and np.allclose(known.positions, atoms.positions, rtol=0.0, atol=tol)
            and np.array_equal(known.cell.array, atoms.cell.array)
            and np.array_equal(known.pbc, atoms.pbc)
            and self._electrons == electrons_of(atoms)
        )
        return [] if same else list(all_changes)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fetch what is new of all images.

        Raises:
            PropertyNotImplementedError: if stress is wanted where it is not defined.
            ForcegateError: what the server raised; ``structure`` is the number of the image.
        """
        atoms = self.atoms if atoms is None else atoms
        if any(atoms is image for image, _ in self._members):
            changed = [k for k, (image, own) in enumerate(self._members) if own.check_state(image)]
            asked = [self._members[k] for k in changed]
        else:
            # A copy that somebody made of an image is nobody else's affair.
            changed, asked = [], [(atoms, self)]
        try:
            found = self._shared.get_forces_batch([image for image, _ in asked])
        except ForcegateError as error:
            if error.structure is not None and changed:
                error.structure = changed[error.structure]
            raise
        for (image, own), results in zip(asked, found, strict=True):
            own.atoms, own.results = image.copy(), results
            own._electrons = electrons_of(image)
        if missing := set(properties) - set(self.results):
            raise PropertyNotImplementedError(f"{', '.join(sorted(missing))} of this image")
