"""What became of every request: its status, when it was due, and when it was answered."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forcegate_bench.report.rows import Row, absent, plain

__all__ = ["LOST", "Outcomes", "Record", "waits"]

# The status of a request whose connection ended before its answer.
LOST = 0


@dataclass(frozen=True)
class Outcomes:
    """The requests of a stretch of ``seconds``: ``status`` [K], ``due_s`` [K], ``answered_s`` [K].

    Times are those of ``time.perf_counter``.
    """

    seconds: float
    status: npt.NDArray[np.int16]
    due_s: npt.NDArray[np.float64]
    answered_s: npt.NDArray[np.float64]

    def count(self, status: int = 200) -> int:
        """How many ended with ``status``."""
        return int(np.count_nonzero(self.status == status))

    def per_second(self, status: int = 200) -> float:
        """How many ended with ``status``, for each second."""
        return self.count(status) / self.seconds if self.seconds else 0.0

    def quantile_ms(self, share: float, status: int = 200) -> float:
        """The time from due to answered that so large a share stays below; NaN if there are none.

        What waited for a connection waited too.
        """
        chosen = self.status == status
        waits = self.answered_s[chosen] - self.due_s[chosen]
        return 1e3 * float(np.quantile(waits, share)) if len(waits) else float("nan")

    def others(self, *expected: int) -> dict[int, int]:
        """How many ended with each status that is none of ``expected``; 0 is a lost connection."""
        counts = Counter(self.status.tolist())
        return {status: counts[status] for status in sorted(counts) if status not in expected}


@dataclass
class Record:
    """Written by a load generator, answer by answer.

    ``samples`` are some of the answers, each with the index of the request that it answers.
    """

    samples: list[tuple[int, bytes]] = field(default_factory=list)
    _status: array[int] = field(default_factory=lambda: array("h"))
    _due_s: array[float] = field(default_factory=lambda: array("d"))
    _answered_s: array[float] = field(default_factory=lambda: array("d"))

    def note(self, status: int, due_s: float, answered_s: float) -> None:
        """One more request is done with."""
        self._status.append(status)
        self._due_s.append(due_s)
        self._answered_s.append(answered_s)

    def all(self) -> Outcomes:
        """Every request so far."""
        everything = self._columns()
        _, due, answered = everything
        seconds = float(answered.max() - due.min()) if len(due) else 0.0
        return Outcomes(seconds, *everything)

    def answered_between(self, begin_s: float, end_s: float) -> Outcomes:
        """Those answered in this time."""
        columns = self._columns()
        return _chosen(columns, columns[2], begin_s, end_s)

    def rate_between(self, begin_s: float, end_s: float, status: int = 200) -> float:
        """Requests that ended with ``status``, for each second of this time.

        Each counts with the part of its time that lies within: of few requests that take long, a
        count of answers would be off by one in ten.
        """
        ended, due, answered = self._columns()
        chosen = (ended == status) & (answered > due)
        due, answered = due[chosen], answered[chosen]
        within = np.minimum(answered, end_s) - np.maximum(due, begin_s)
        return float((np.maximum(within, 0.0) / (answered - due)).sum()) / (end_s - begin_s)

    def due_between(self, begin_s: float, end_s: float) -> Outcomes:
        """Those due in this time, however late their answer: what waits are counted by."""
        columns = self._columns()
        return _chosen(columns, columns[1], begin_s, end_s)

    def _columns(self) -> _Columns:
        # Copies: an array that somebody looks into cannot grow.
        return (
            np.array(self._status, dtype=np.int16),
            np.array(self._due_s, dtype=np.float64),
            np.array(self._answered_s, dtype=np.float64),
        )


def waits(label: str, outcomes: Outcomes, status: int = 200) -> list[Row]:
    """Median and 95 % of the requests that ended with ``status``, if there are any."""
    rows = []
    for share in (0.5, 0.95):
        name = f"{label}, p{100 * share:g}"
        known = outcomes.count(status) > 0
        value = outcomes.quantile_ms(share, status)
        rows.append(plain(name, value, "ms") if known else absent(name, unit="ms"))
    return rows


_Columns = tuple[npt.NDArray[np.int16], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _chosen(
    columns: _Columns, when: npt.NDArray[np.float64], begin_s: float, end_s: float
) -> Outcomes:
    chosen = (when >= begin_s) & (when < end_s)
    status, due, answered = columns
    return Outcomes(end_s - begin_s, status[chosen], due[chosen], answered[chosen])
