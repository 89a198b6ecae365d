"""The observer of what models are asked: how novel it is, and how unlike the training set."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from prometheus_client import CollectorRegistry

from forcegate_client.structures import segments
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.structures import Structures, merge
from forcegate_service.settings import Settings
from forcegate_service.watch.novelty.features import evenly, features_of, features_of_some
from forcegate_service.watch.novelty.health import ModelHealth, VersionHealth
from forcegate_service.watch.observer import Served

__all__ = ["NoveltyWatch"]

# Numpy costs by the call: small requests are kept until there are so many, or so many atoms.
_TOGETHER = 64
_TOGETHER_ATOMS = 2048
_SMALL_ATOMS = 128
# Of larger requests one structure in eight, but so many in any case and so many at most; of so many
# parts, one for so many structures; and so many atoms of each part.
_ONE_IN = 8
_STRUCTURES = (32, 256)
_STRUCTURES_OF_A_PART = 16
_MOST_ATOMS = 64


class _Waiting:
    """Small requests of one version that were not looked at yet."""

    def __init__(self, health: VersionHealth) -> None:
        self.health = health
        self.answered: list[tuple[Structures, ModelOutput]] = []
        self.atoms = 0


class NoveltyWatch:
    """Counts features of what is served; work and memory are bounded for every request.

    A request of up to 128 atoms is counted whole, together with up to sixty-three others, or when
    metrics are read. Of a larger one every eighth structure is looked at, but 32 at least and 256
    at most, evenly taken from one of the parts that it was evaluated in for each sixteen of them,
    and 64 atoms of each part.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._health = ModelHealth(settings, registry, self._count_all, clock)
        self._waiting: dict[tuple[str, str], _Waiting] = {}

    def served(self, seen: Served) -> None:
        """Look at a request that was computed."""
        card = seen.card
        waiting = self._waiting.get((card.name, card.version))
        if waiting is None or waiting.health.card is not card:
            waiting = self._begin(card)
        if len(seen.parts) == 1 and not seen.failed:
            structures = seen.parts[0]
            atoms = len(structures.atomic_numbers)
            if atoms <= _SMALL_ATOMS:
                waiting.answered.append((structures, seen.outputs[0]))
                waiting.atoms += atoms
                if len(waiting.answered) >= _TOGETHER or waiting.atoms >= _TOGETHER_ATOMS:
                    _count(waiting)
                return
        _count_some(waiting.health, seen)

    def unloaded(self, card: ModelCard) -> None:
        """Forget a version that is not served any more."""
        self._waiting.pop((card.name, card.version), None)
        self._health.forget(card)

    def close(self) -> None:
        """Nothing is kept."""

    def _begin(self, card: ModelCard) -> _Waiting:
        """The version of ``card``, which is new or was read again."""
        waiting = self._waiting.get((card.name, card.version))
        if waiting is not None:
            # These belong to the card as it was.
            _count(waiting)
        waiting = self._waiting[card.name, card.version] = _Waiting(self._health.of(card))
        return waiting

    def _count_all(self) -> None:
        for waiting in self._waiting.values():
            _count(waiting)


def _count(waiting: _Waiting) -> None:
    answered, waiting.answered, waiting.atoms = waiting.answered, [], 0
    if not answered:
        return
    parts, outputs = zip(*answered, strict=True)
    together = ModelOutput.joined(outputs)
    waiting.health.count(features_of(merge(parts), together))


def _count_some(health: VersionHealth, seen: Served) -> None:
    """Of a large request, or one of which something failed: some of what is good."""
    failed = np.array(list(seen.failed), dtype=np.int64)
    firsts = np.cumsum([0, *(len(part.n_atoms) for part in seen.parts)])
    least, most = _STRUCTURES
    wanted = min(max(int(firsts[-1]) // _ONE_IN, least), most)
    looked_at = evenly(len(seen.parts), wanted // _STRUCTURES_OF_A_PART)
    candidates = segments(firsts[looked_at], np.diff(firsts)[looked_at])
    chosen = candidates[evenly(len(candidates), wanted)]
    chosen = chosen[np.isin(seen.index[chosen], failed, invert=True)]
    bounds = np.searchsorted(chosen, firsts)
    for number in looked_at.tolist():
        among = chosen[bounds[number] : bounds[number + 1]] - firsts[number]
        if len(among):
            structures, output = seen.parts[number], seen.outputs[number]
            health.count(features_of_some(structures, output, among, _MOST_ATOMS))
