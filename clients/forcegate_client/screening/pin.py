"""Which weights and card a screening asks: found out once, and kept to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forcegate_client.potential import Potential
from forcegate_client.remarks import Judge, judge_of
from forcegate_client.structures import StructureBatch

__all__ = ["PinnedModel", "pin"]


@dataclass(frozen=True)
class PinnedModel:
    """A version by name and by digests; ``judge`` knows what it is approved for.

    ``card_digest`` is empty if the server is too old to tell it.
    """

    name: str
    version: str
    digest: str
    judge: Judge
    card_digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """What the manifest holds of it: what may not change."""
        pinned = {"name": self.name, "version": self.version, "digest": self.digest}
        return pinned | ({"card_digest": self.card_digest} if self.card_digest else {})


def pin(
    client: Potential, name: str, version: str | None, properties: Sequence[str]
) -> PinnedModel:
    """The version that answers now, and its digests.

    One atom is asked about: the list of models tells the digest of default versions only, and what
    the model cannot give is better refused here than for each structure.

    Raises:
        ForcegateError: whatever the server has to say against it.
    """
    elements = client.model(name)["elements"]
    response = client.predict(
        StructureBatch.from_arrays([1], [elements[0]], [[0.0, 0.0, 0.0]]),
        name,
        version,
        properties,
    )
    version, digest = response.version, response.digest
    judge = judge_of(client, response.model, version, digest, response.status)
    return PinnedModel(response.model, version, digest, judge, response.card_digest)
