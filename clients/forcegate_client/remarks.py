"""What a model's card says against an answer: too novel, or of a use that was not validated."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forcegate_client.errors import Forbidden, ModelNotFound
from forcegate_client.potential import Potential

__all__ = ["Judge", "judge_of", "verdict_remark"]

logger = logging.getLogger("forcegate")

_WORDS = {
    "rejected": "rejected",
    "caution": "to be used with caution",
    "not_validated": "not validated",
    "not_known": "not known to be validated",
}


@dataclass(frozen=True)
class Judge:
    """What is known of the version that answers, and what follows for single answers.

    ``status`` has the verdict of each use. Of the structures of its training set 99.9 % have a
    novelty below ``novelty_limit``; ``None`` on a card that does not say.
    """

    model: str
    version: str
    digest: str
    status: Mapping[str, str] = field(default_factory=dict)
    novelty_limit: float | None = None

    def is_novel(self, novelty: float | None) -> bool:
        """Whether ``novelty`` is beyond the limit; a novelty that is no number is."""
        if novelty is None or self.novelty_limit is None:
            return False
        return not novelty <= self.novelty_limit

    def remarks(self, *, periodic: bool, charged: bool, novelty: float | None = None) -> list[str]:
        """What a reader has to know of one answer."""
        found = []
        if self.is_novel(novelty):
            # The value stands beside it: one text for all rows can be said once.
            found.append(
                f"novelty above {self.novelty_limit:.3g}, the 99.9 % quantile of the training set: "
                "the answer is likely to be wrong"
            )
        if periodic and (text := verdict_remark(self.status, "periodic")):
            found.append(f"periodic: {text}")
        if charged and (text := verdict_remark(self.status, "ions")):
            found.append(f"charged: {text}")
        return found


def judge_of(
    client: Potential, model: str, version: str, digest: str, status: Mapping[str, str]
) -> Judge:
    """Ask the server for the card of the version that answers.

    A server that shows no card leaves the limit open, and a line in the log.
    """
    try:
        card = client.model(model, version)
    except (Forbidden, ModelNotFound) as error:
        logger.warning("novelty is not judged: no card of %s %s (%s)", model, version, error)
        card = {}
    return Judge(model, version, digest, dict(status), _novelty_limit(card))


def verdict_remark(status: Mapping[str, str], use: str) -> str:
    """What to say of a model that is not approved for ``use``; nothing of one that is."""
    verdict = status.get(use, "not_validated")
    if verdict == "approved":
        return ""
    return f"this model is {_WORDS.get(verdict, verdict)} for {_USES.get(use, use)}"


_USES = {
    "md": "molecular dynamics",
    "relax": "relaxation",
    "screening": "screening",
    "torsion": "torsion barriers",
    "binding": "molecules that bind each other",
    "ions": "ions",
    "periodic": "periodic structures",
}


def _novelty_limit(card: Mapping[str, Any]) -> float | None:
    histograms = card.get("histograms")
    found = histograms.get("max_novelty_999") if isinstance(histograms, Mapping) else None
    return float(found) if isinstance(found, int | float) else None
