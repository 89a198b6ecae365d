"""Which structures the teacher was asked about and has not answered yet."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt

__all__ = ["Outstanding", "Question"]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A structure in the spool, who sent it, and the version that answered it.

    ``positions`` [n, 3] in Å.
    """

    model: str
    version: str
    digest: str
    atomic_numbers: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    caller: str = "unknown"

    @property
    def n_atoms(self) -> int:
        """How many atoms it has."""
        return len(self.atomic_numbers)


class Outstanding:
    """Questions by their id, at most ``limit``: the oldest is forgotten for the newest.

    An id is answered once; after that it is as unknown as one that was never given out. Used by the
    event loop and by the thread that writes the spool.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._questions: OrderedDict[str, Question] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._questions)

    def add(self, identity: str, question: Question) -> None:
        """Remember a question."""
        with self._lock:
            self._questions[identity] = question
            while len(self._questions) > self._limit:
                self._questions.popitem(last=False)

    def forget(self, identity: str) -> None:
        """Take a question back."""
        with self._lock:
            self._questions.pop(identity, None)

    def answer(self, identity: str, n_atoms: int | None = None) -> Question | None:
        """The question of ``identity``, which is no longer open; None if there is none.

        With ``n_atoms`` an answer about another number of atoms is none, and the question stays.
        """
        with self._lock:
            question = self._questions.get(identity)
            if question is None or n_atoms not in (None, question.n_atoms):
                return None
            return self._questions.pop(identity)
