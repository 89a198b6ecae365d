"""Which structures are kept when there is not room for all: an equal share for every caller.

Within its share a caller's structures are a fair sample of all that it sent, first and last alike
(reservoir sampling, Vitter 1985). So nobody can fill the store and thereby choose what is learned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forcegate_service.watch.capture.metrics import CaptureDropReason

__all__ = ["CaptureSample", "Kept", "Placed"]

_PART = 64
# One trajectory that left the known must not fill the store with itself.
_OF_A_COMPOSITION = 100
# What a file needs before its first frame, and an atom in it at most.
_BYTES_OF_A_PART = 49_152
_BYTES_OF_A_FRAME = 512
_BYTES_OF_AN_ATOM = 16

# The structures among which one has to give way: those of a composition, or all.
_ALL = ""


@dataclass(eq=False, slots=True)
class Kept:
    """A structure that has a place in the store, and ``why`` (JSON values)."""

    caller: str
    composition: str
    fingerprint: str
    n_atoms: int
    why: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """At most so many it takes in a file."""
        return _BYTES_OF_A_FRAME + _BYTES_OF_AN_ATOM * self.n_atoms


@dataclass(frozen=True, slots=True)
class Placed:
    """The part in which a structure found its place, and the one that gave way for it, if any."""

    part: str
    instead_of: Kept | None


class CaptureSample:
    """At most ``max_structures`` in parts of together ``max_bytes``; ``rng`` is a seam for tests.

    Of one composition there are at most a hundred. How often a caller was considered is counted
    from the start of the process on.
    """

    def __init__(
        self, max_structures: int, max_bytes: int, rng: np.random.Generator | None = None
    ) -> None:
        self._max_structures = max_structures
        self._max_bytes = max_bytes
        self._rng = rng or np.random.default_rng()
        self._parts: dict[str, list[Kept]] = {}
        self._bytes = 0
        self._fingerprints: set[str] = set()
        # By composition, and for all; then by caller.
        self._held: dict[str, Counter[str]] = {_ALL: Counter()}
        self._considered: dict[str, Counter[str]] = {_ALL: Counter()}

    def __len__(self) -> int:
        return self._held[_ALL].total()

    @property
    def parts(self) -> list[str]:
        """The names of all parts."""
        return list(self._parts)

    def of_part(self, part: str) -> list[Kept]:
        """What is in a part, in the order of its file."""
        return list(self._parts.get(part, ()))

    def knows(self, fingerprint: str) -> bool:
        """Whether a structure of that fingerprint has a place."""
        return fingerprint in self._fingerprints

    def place(self, new: Kept, new_part: str) -> Placed | CaptureDropReason:
        """Find a place for ``new``, if need be in ``new_part``, which is begun; or why not."""
        tight = self._tight(new)
        if tight is None:
            part = next((name for name, held in self._parts.items() if len(held) < _PART), new_part)
            self._put(part, [*self.of_part(part), new])
            return Placed(part, None)
        self._considered[tight][new.caller] += 1
        found = self._giving_way(tight, new)
        if found is None:
            return "composition_full" if tight else "full"
        part, place = found
        held = self.of_part(part)
        victim, held[place] = held[place], new
        self._put(part, held)
        return Placed(part, victim)

    def restore(self, part: str, held: Sequence[Kept]) -> None:
        """Let a part hold just these, as it did before or as its file turned out to."""
        self._put(part, list(held))

    def _tight(self, new: Kept) -> str | None:
        """Among which structures one has to give way; None if there is room."""
        of_composition = self._held.get(new.composition, Counter()).total()
        if of_composition >= _OF_A_COMPOSITION:
            return new.composition
        no_room = new.bytes + self._bytes_of_next_part() > self._spare
        return _ALL if no_room or len(self) >= self._max_structures else None

    def _giving_way(self, tight: str, new: Kept) -> tuple[str, int] | None:
        """Part and place of a structure of whoever has the most there, which may be the caller."""
        held = self._held[tight]
        own, most = held[new.caller], max(held.values(), default=0)
        if own < most:
            callers = {caller for caller, number in held.items() if number == most}
        elif self._rng.random() < own / self._considered[tight][new.caller]:
            callers = {new.caller}
        else:
            return None
        needed = new.bytes - self._spare
        places = [
            (part, place)
            for part, place, kept in self._all()
            if kept.caller in callers and tight in (_ALL, kept.composition) and kept.bytes >= needed
        ]
        return places[self._rng.integers(len(places))] if places else None

    def _all(self) -> Iterator[tuple[str, int, Kept]]:
        for part, held in self._parts.items():
            for place, kept in enumerate(held):
                yield part, place, kept

    @property
    def _spare(self) -> int:
        return self._max_bytes - self._bytes - _BYTES_OF_A_PART * len(self._parts)

    def _bytes_of_next_part(self) -> int:
        return 0 if any(len(held) < _PART for held in self._parts.values()) else _BYTES_OF_A_PART

    def _put(self, part: str, held: list[Kept]) -> None:
        """Let a part hold just these; an empty one is none."""
        before = self._parts.pop(part, [])
        if held:
            self._parts[part] = held
        for gone in set(before) - set(held):
            self._count(gone, -1)
        for new in set(held) - set(before):
            self._count(new, 1)

    def _count(self, kept: Kept, step: int) -> None:
        self._bytes += step * kept.bytes
        if step > 0:
            self._fingerprints.add(kept.fingerprint)
        else:
            self._fingerprints.discard(kept.fingerprint)
        for pool in (_ALL, kept.composition):
            held = self._held.setdefault(pool, Counter())
            considered = self._considered.setdefault(pool, Counter())
            held[kept.caller] += step
            # Whatever is held was considered, be it in an earlier life of the gateway.
            considered[kept.caller] = max(considered[kept.caller], held[kept.caller])
            if not held[kept.caller]:
                del held[kept.caller]
        if not self._held[kept.composition]:
            # Nobody competes there any more, and the list of compositions must not grow for ever.
            del self._held[kept.composition], self._considered[kept.composition]
