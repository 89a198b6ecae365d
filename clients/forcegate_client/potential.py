"""What answers: a server, or a student in this process. Commands and calculators take either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

from ase import Atoms

from forcegate_client.messages import OnError, PredictResponse
from forcegate_client.structures import StructureBatch

__all__ = ["Potential"]


class Potential(Protocol):
    """``Client`` and ``LocalModels`` are two; what they refuse, they refuse alike."""

    def predict(
        self,
        structures: StructureBatch | Atoms | Sequence[Atoms],
        model: str = ...,
        version: str | None = None,
        properties: Sequence[str] = ("energy", "forces"),
        on_error: OnError = "raise",
        ids: Sequence[str] | None = None,
    ) -> PredictResponse:
        """Energies, forces, stresses and uncertainties of structures, in their order.

        Raises:
            ForcegateError: if they cannot be computed.
        """

    def models(self) -> list[dict[str, Any]]:
        """One entry for each model that there is."""

    def model(self, name: str, version: str | None = None) -> dict[str, Any]:
        """The card of model ``name``, of ``version`` or of the default one.

        Raises:
            ForcegateError: if there is none.
        """

    def close(self) -> None:
        """Give back what it holds."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
