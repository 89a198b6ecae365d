"""When a phase of traffic is over: by what was asked and compared, not by the clock."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LEAST_COMPARED", "Progress"]

# The gateway's window of compared structures: with as many, its figure is of this phase alone.
LEAST_COMPARED = 200
# Between two requests. So long a pause empties the short windows of Prometheus and of the gateway.
_PAUSE_S = 15.0
# At a dozen a second these fill the windows again, and last longer than the alerts wait.
_SETTLED = 800
# A teacher that is so far behind does not come any more.
_MOST = 8


class Progress:
    """How far a phase has come that asks for ``wanted`` structures of each of ``versions``.

    After a machine that stood still for a while, so many come that the windows, which have
    forgotten what was before, are full again.
    """

    def __init__(self, wanted: int, versions: tuple[str, ...]) -> None:
        self._wanted = wanted
        self._versions = versions
        self._asked = 0
        self._in_all = 0
        self._before: Mapping[str, float] = {}
        self._compared: Mapping[str, float] = {}
        self._at: float | None = None

    def asked(self, structures: int, now: float) -> None:
        """So many more were answered, at ``now`` seconds."""
        if self._at is not None and now - self._at > _PAUSE_S:
            self._asked = min(self._asked, self._wanted - min(self._wanted, _SETTLED))
            self._before = self._compared
        self._at = now
        self._asked += structures
        self._in_all += structures

    def compared(self, counts: Mapping[str, float]) -> None:
        """The teacher has been compared with each version on so many since the gateway started."""
        if not self._compared:
            self._before = counts
        self._compared = dict(counts)

    def done(self, *, teacher: bool) -> bool:
        """Whether the phase is over; ``teacher``: not before enough answers were compared.

        Raises:
            TimeoutError: if the teacher compares nothing.
        """
        if self._asked < self._wanted:
            return False
        short = [v for v in self._versions if self._new(v) < LEAST_COMPARED]
        if not teacher or not short:
            return True
        if self._in_all > _MOST * self._wanted:
            raise TimeoutError(
                f"of {self._in_all} structures the teacher has compared "
                f"{self._new(short[0]):.0f} of version {short[0]}; expected {LEAST_COMPARED}: "
                "look at shadow.log"
            )
        return False

    def _new(self, version: str) -> float:
        return self._compared.get(version, 0.0) - self._before.get(version, 0.0)
