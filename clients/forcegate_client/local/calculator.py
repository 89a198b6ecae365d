"""ASE's calculator of a student in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.local.models import LocalModels
from forcegate_client.local.student import Student
from forcegate_client.messages import PredictRequest, PredictResponse

if TYPE_CHECKING:
    from forcegate_engine import Evaluation

__all__ = ["LocalCalculator"]


class LocalCalculator(ModelCalculator):
    """``RemoteCalculator`` without a server: same numbers, errors and warnings, from the engine.

    ``model`` is a name, or the folder of a version; names are looked for in ``repository``, by
    default the published students of ``forcegate-models``. Without ``version`` the newest that
    validation approved answers. ``threads`` at most compute, 0 for one on each processor. Give
    ``local`` to share one. The other arguments are those of ``RemoteCalculator``.
    """

    client: LocalModels
    _computes_on = "the engine computes on processors"

    def __init__(
        self,
        model: str = "painn_base",
        version: str | int | None = None,
        *,
        repository: str | Path | None = None,
        digest: str | None = None,
        uncertainty: bool = False,
        threads: int = 0,
        local: LocalModels | None = None,
        use: str | None = None,
        device: str | None = None,
    ) -> None:
        """Find the model and read its weights.

        Raises:
            ModelNotFound: if there is no such model or version; it says what there is.
            ModelRefused: if its files are not what its card describes.
            PackageMissing: if the engine, or without ``repository`` the students, are not there.
        """
        potential = local or LocalModels(repository, threads=threads)
        super().__init__(
            *(potential, model, version),
            digest=digest,
            uncertainty=uncertainty,
            use=use,
            device=device,
        )
        self._owns_client = local is None
        # What is wrong with it is better said here than at the first step.
        self.student: Student = potential.student(model, self.version)

    def response_to(self, atoms: Atoms, evaluation: Evaluation) -> PredictResponse:
        """What would have been answered, were ``evaluation`` by the engine not known already.

        Raises:
            ForcegateError: if ``atoms``, or what was computed of them, are refused.
        """
        batch = self._batch_of(atoms)
        request = PredictRequest(batch, self.model, self.version, (*self._wanted(atoms, ()),))
        admitted = self.student.admit(batch)
        for problem in admitted.problems.values():
            raise problem
        return self.student.respond(request, admitted, evaluation, {})
