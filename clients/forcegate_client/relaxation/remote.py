"""Evaluate batches on a forcegate server, by one version from the first to the last."""

from __future__ import annotations

import threading

from forcegate_client.errors import DigestChanged
from forcegate_client.messages import Predictions, PredictResponse
from forcegate_client.potential import Potential
from forcegate_client.structures import StructureBatch

__all__ = ["RemoteEvaluator", "evaluator"]


class RemoteEvaluator:
    """Asks ``client`` for energies and forces; threads may share it.

    Without ``version`` the server chooses at the first batch, and that version and its weights are
    expected ever after. ``version``, ``digest`` and ``approval`` say what answers, once it did.
    """

    def __init__(self, client: Potential, model: str, version: str | None = None) -> None:
        self.client = client
        self.model = model
        self.version = version
        self.digest: str | None = None
        self._card_digest = ""
        self.approval: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, batch: StructureBatch) -> Predictions:
        """Energies and forces; structures that cannot be computed are in ``problems``.

        Raises:
            DigestChanged: if other weights answer than before.
            ForcegateError: if the server cannot answer at all.
        """
        if self.digest is None:
            # Groups that begin together must not be answered by two versions.
            with self._lock:
                if self.digest is None:
                    return self._accepted(self._ask(batch))
        return self._accepted(self._ask(batch))

    def _ask(self, batch: StructureBatch) -> PredictResponse:
        return self.client.predict(batch, self.model, self.version, on_error="partial")

    def _accepted(self, response: PredictResponse) -> Predictions:
        if not response.comes_from(self.digest, self._card_digest):
            raise DigestChanged(
                response.origin,
                expected="the weights and card that this relaxation began with, "
                f"{self.digest} {self._card_digest}",
                action="relax again with the new version",
            )
        self.version = response.version
        self.approval = response.status
        self._card_digest = response.card_digest
        # Last: whoever sees it sees the version as well.
        self.digest = response.digest
        return response.predictions


def evaluator(client: Potential, model: str, version: str | None = None) -> RemoteEvaluator:
    """What ``relax_batched`` asks: ``client``'s server, ``model``, one version."""
    return RemoteEvaluator(client, model, version)
