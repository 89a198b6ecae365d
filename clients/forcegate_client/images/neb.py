"""The nudged elastic band of ASE, at one request an iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ase import Atoms
from ase.mep import NEB

from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.images.together import evaluate_together

__all__ = ["BatchedNEB"]


class BatchedNEB(NEB):  # type: ignore[misc]  # ASE has no type information
    """``ase.mep.NEB`` whose ``images`` ask ``calculator`` together.

    The path is ASE's own, by whichever ``method``, with ``climb`` and all other ``options``; only
    what is asked of the model is put together. The ends are asked about once.
    """

    def __init__(
        self,
        images: Sequence[Atoms],
        calculator: ModelCalculator,
        *,
        method: str = "improvedtangent",
        **options: Any,
    ) -> None:
        """Give the images their calculators.

        Raises:
            ValueError: if an image is there twice, or ``options`` are none of ASE's.
        """
        evaluate_together(images, calculator)
        super().__init__(list(images), method=method, **options)
