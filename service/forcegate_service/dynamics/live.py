"""How much may move at a time: in all, and for each caller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from forcegate_client.errors import PayloadTooLarge, TooManyRequests
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.settings import Settings

__all__ = ["Live"]

# Runs last: who is refused is not to come back at once.
_ADVISED_S = 10.0


class Live:
    """Structures and atoms that move now; used on the event loop alone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.structures = self.atoms = 0
        self._of_caller: Counter[str] = Counter()

    @contextmanager
    def admitted(self, tenant: Tenant, structures: int, atoms: int) -> Iterator[None]:
        """So many of ``tenant`` move inside.

        Raises:
            PayloadTooLarge: if one request may not hold so many.
            TooManyRequests: if there is no room for them now.
        """
        limits = self._settings
        if structures > limits.max_run_structures:
            raise PayloadTooLarge(
                f"{structures} structures to be moved",
                expected=f"at most {limits.max_run_structures} in one request",
                action="ask in several requests, one after the other",
                code="too_many_structures",
            )
        own = self._of_caller[tenant.caller]
        for there, more, limit, what in (
            (own, structures, limits.max_live_structures_per_caller, "structures of one caller"),
            (self.structures, structures, limits.max_live_structures, "structures"),
            (self.atoms, atoms, limits.max_live_atoms, "atoms"),
        ):
            if there + more > limit:
                raise TooManyRequests(
                    f"{more} {what} to be moved while {there} are moving",
                    expected=f"at most {limit} at a time",
                    action="try again after retry_after_s, or ask for fewer at a time",
                    code="too_many_runs",
                    retry_after_s=_ADVISED_S,
                )
        self._add(tenant, structures, atoms)
        try:
            yield
        finally:
            self._add(tenant, -structures, -atoms)

    def _add(self, tenant: Tenant, structures: int, atoms: int) -> None:
        self.structures += structures
        self.atoms += atoms
        self._of_caller[tenant.caller] += structures
        if not self._of_caller[tenant.caller]:
            del self._of_caller[tenant.caller]
