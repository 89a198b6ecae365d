"""Models: which are served, what they are approved for, and what evaluates them."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge

from forcegate_service.contract.card import VERDICTS, ModelCard

__all__ = ["ModelMetrics"]


class ModelMetrics:
    """What there is to know of a version as long as it is served."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._models = Gauge(
            "forcegate_model_info",
            "Always 1; the labels name each version that is served, and what validation says of "
            "each use: approved, caution, rejected or not_validated.",
            ["model", "version", "digest", *VERDICTS],
            registry=registry,
        )
        self._on_engine = Gauge(
            "forcegate_model_on_engine",
            "1 while a version is evaluated by the engine, 0 while by TorchScript.",
            ["model", "version"],
            registry=registry,
        )
        self._restarts = Counter(
            "forcegate_inference_process_restarts_total",
            "Times that the inference process had died and was started again.",
            registry=registry,
        )
        self._announced: dict[tuple[str, str], tuple[str, ...]] = {}

    def loaded(self, card: ModelCard) -> None:
        """Announce a version that is served, or that its card has changed."""
        key = card.name, card.version
        status = (card.status.get(use, "not_validated") for use in VERDICTS)
        labels = (*key, card.digest, *status)
        before = self._announced.get(key)
        if before is not None and before != labels:
            self._models.remove(*before)
        self._announced[key] = labels
        self._models.labels(*labels).set(1)

    def unloaded(self, card: ModelCard) -> None:
        """Take back all that was said of a version."""
        key = card.name, card.version
        self._models.remove(*self._announced.pop(key))
        # Not every runtime tells.
        with suppress(KeyError):
            self._on_engine.remove(*key)

    def on_engine(self, card: ModelCard, engine: bool) -> None:
        """Tell whether a version is evaluated by the engine, or else by TorchScript."""
        self._on_engine.labels(card.name, card.version).set(engine)

    def inference_restarted(self) -> None:
        """Count one more start of the inference process after a death."""
        self._restarts.inc()
