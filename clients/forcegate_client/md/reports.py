"""The message about a run that goes to the gateway, and the thread that sends it.

No structure, no trajectory and no name is in it: docs/md-reports.md lists all fields.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from dataclasses import asdict, dataclass

from forcegate_client.errors import ForcegateError
from forcegate_client.http.client import Client
from forcegate_client.http.connection import Timeouts
from forcegate_client.md.blow_up import BlowUp
from forcegate_client.md.ensemble import Ensemble
from forcegate_client.retry import Transient

__all__ = ["PATH", "ReportSender", "RunReport"]

logger = logging.getLogger("forcegate")

PATH = "/v1/md/reports"
# A report that takes longer is not worth a connection.
_TIMEOUTS = Timeouts(connect_s=2.0, read_s=5.0, total_s=5.0)
# What the gateway takes for a number; a run that is about to blow up may have others.
_MOST = 1e6


@dataclass(frozen=True)
class RunReport:
    """One report, with the totals of the run so far; ``None`` is what is not known.

    A report takes the place of all earlier ones of its run, so those may be lost.
    """

    run: str
    sequence: int
    model: str
    version: str
    digest: str
    ensemble: Ensemble
    timestep_fs: float
    n_atoms: int
    duration_ps: float
    target_temperature_k: float | None
    mean_temperature_k: float | None
    temperature_sigma_k: float | None
    drift_mev_per_atom_per_ps: float | None
    drift_standard_error_mev_per_atom_per_ps: float | None
    final: bool
    blow_up: BlowUp | None

    def to_json(self) -> bytes:
        """The body to send; temperatures or a drift that no gateway would take are left open."""
        fields = asdict(self)
        for together in (
            ("target_temperature_k", "temperature_sigma_k"),
            ("mean_temperature_k",),
            ("drift_mev_per_atom_per_ps", "drift_standard_error_mev_per_atom_per_ps"),
        ):
            if not all(_sayable(fields[name]) for name in together):
                fields |= dict.fromkeys(together)
        return json.dumps(fields, allow_nan=False).encode("ascii")


class ReportSender:
    """Sends reports of one run from a daemon thread; no method fails, and only ``wait`` waits.

    There is room for one report, the newest. Each is tried once: the next one says all that it
    would have said. A server that will never take reports (it does not know the route, or the key
    lacks the scope) is not asked again; the log says why, once.
    """

    def __init__(self, client: Client) -> None:
        # So that no step of dynamics waits for a report's connection.
        self._client = client.twin(_TIMEOUTS)
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: RunReport | None = None
        self._busy = False
        self._closing = False
        self._refused = False
        self._told = False
        self._thread: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is any use in another report."""
        # Not after a fork: the run goes on in the parent.
        return not (self._refused or self._closing) and os.getpid() == self._process

    def start(self) -> None:
        """Have the thread ready; at the end of the interpreter it may be too late for one."""
        if self._thread is None and self.wanted:
            self._thread = threading.Thread(
                target=self._work, name="forcegate-md-reports", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError as error:
                self._give_up(error)

    def offer(self, report: RunReport) -> None:
        """Have ``report`` sent; it takes the place of one that is still waiting."""
        self.start()
        if self.wanted:
            with self._changed:
                self._waiting = report
                self._changed.notify_all()

    def close(self) -> None:
        """Send what waits, and take nothing any more."""
        if os.getpid() == self._process:
            with self._changed:
                self._closing = True
                self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Return once nothing waits or is on its way, and after so many ``seconds`` in any case."""
        if os.getpid() == self._process and self._thread is not None and seconds > 0.0:
            with self._changed:
                self._changed.wait_for(lambda: self.is_idle, seconds)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return self._refused or (self._waiting is None and not self._busy)

    def _work(self) -> None:
        while (report := self._next()) is not None:
            try:
                self._client.send_report(PATH, report.to_json())
            except Transient as failure:
                # The next one may get through.
                self._tell(failure.error)
            except Exception as error:
                self._give_up(error)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        if self._client.owns_transport:
            self._client.close()

    def _next(self) -> RunReport | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting is not None or self._closing or self._refused
            )
            report = None if self._refused else self._waiting
            self._waiting = None
            self._busy = report is not None
            return report

    def _give_up(self, error: Exception) -> None:
        self._refused = True
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            what = error if isinstance(error, ForcegateError) else repr(error)
            logger.info("this run is not reported to the server, and goes on: %s", what)


def _sayable(value: float | None) -> bool:
    return value is None or (math.isfinite(value) and abs(value) <= _MOST)
