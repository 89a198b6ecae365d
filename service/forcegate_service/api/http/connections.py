"""How many connections there are, and who has to go when there are too many."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from forcegate_service.settings import Settings
from forcegate_service.watch.metrics.connections import ConnectionMetrics

__all__ = ["Connections", "raise_file_limit"]

logger = logging.getLogger(__name__)

# Models, logs, the inference process, the capture and whatever libraries open.
_OTHER_FILES = 256
# Whoever is at the limit comes again at once.
_TOLD_EVERY_S = 60.0


class Closable(Protocol):
    """A connection, as far as it is of interest here."""

    def make_room(self) -> None:
        """End at once; nothing is being answered."""


class Connections:
    """Every open connection by its address, those first that have been idle for longest.

    A socket that says nothing costs its owner nothing, and the process one of its file descriptors,
    without which nobody else gets in. So there is a limit for each address, and one for all; at
    either, an idle connection gives way to the new one, and if none is idle the new one is refused.
    Proxies that are trusted stand for many callers, and have no limit of their own.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: ConnectionMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = _possible(settings.max_connections)
        # Some are left to others, whatever is set.
        most = max(1, 3 * self.limit // 4)
        self.limit_of_address = min(settings.max_connections_per_address, most)
        self._proxies = [ipaddress.ip_network(item) for item in settings.proxy_networks]
        self._metrics = metrics
        self._clock = clock
        self._told_at = float("-inf")
        self._of_address: Counter[str] = Counter()
        # In both, the one that has been idle for longest comes first.
        self._idle: dict[Closable, str] = {}
        self._idle_of: dict[str, dict[Closable, None]] = {}
        metrics.watch(lambda: self._of_address.total())

    def admit(self, connection: Closable, address: str) -> bool:
        """Whether there is room for one more; if so it counts, and is idle until it says more."""
        of_address = self._of_address[address]
        crowded = of_address >= self.limit_of_address and not self._is_proxy(address)
        if crowded or self._of_address.total() >= self.limit:
            among = self._idle_of.get(address, {}) if crowded else self._idle
            reason = "address" if crowded else "total"
            oldest = next(iter(among), None)
            self._tell(address, reason, of_address)
            if oldest is None:
                self._metrics.refused(reason)
                return False
            self._metrics.evicted(reason)
            owner = self._idle[oldest]
            oldest.make_room()
            self.left(oldest, owner)
        self._of_address[address] += 1
        self.rests(connection, address)
        return True

    def rests(self, connection: Closable, address: str) -> None:
        """Nothing of it is being answered any more."""
        self._idle[connection] = address
        self._idle_of.setdefault(address, {})[connection] = None

    def works(self, connection: Closable, address: str) -> None:
        """A request of it is being answered."""
        if self._idle.pop(connection, None) is not None:
            own = self._idle_of[address]
            del own[connection]
            if not own:
                del self._idle_of[address]

    def left(self, connection: Closable, address: str) -> None:
        """It is gone; to be told once."""
        self.works(connection, address)
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def _is_proxy(self, address: str) -> bool:
        if not self._proxies:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)

    def _tell(self, address: str, reason: str, of_address: int) -> None:
        now = self._clock()
        if now - self._told_at < _TOLD_EVERY_S:
            return
        self._told_at = now
        logger.warning(
            "as many connections as there may be (%s): %d in all, %d of %s; idle ones give way, "
            "and others are refused if there is none; see FORCEGATE_MAX_CONNECTIONS",
            "of one address" if reason == "address" else "in all",
            self._of_address.total(),
            of_address,
            address,
        )


def raise_file_limit(connections: int) -> None:
    """Let the process open as many files as so many connections need, if the system allows it."""
    try:
        import resource
    except ImportError:
        # Systems without it have no such limit.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        logger.warning("%d open files instead of %d: %s", soft, wanted, error)


def _possible(wanted: int) -> int:
    """``wanted`` connections, or as many as the process may have files for."""
    try:
        import resource
    except ImportError:
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted + _OTHER_FILES:
        return wanted
    possible = max(soft // 2, soft - _OTHER_FILES)
    logger.warning(
        "at most %d connections instead of %d: the process may open %d files; raise its hard limit "
        "(ulimit -Hn, LimitNOFILE)",
        possible,
        wanted,
        soft,
    )
    return possible
