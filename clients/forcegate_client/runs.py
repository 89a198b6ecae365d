"""What is asked of a server that moves structures itself, and the records it answers with.

Å, eV, fs, Å/fs, u and K. ``B`` structures of ``N`` atoms in all; a record is of one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from forcegate_client.messages import OnError
from forcegate_client.structures import StructureBatch, segments

__all__ = [
    "EXTRA_COLUMNS",
    "METHODS",
    "RUN_PATHS",
    "RUN_UNITS",
    "End",
    "EndReason",
    "Frame",
    "Method",
    "Progress",
    "Record",
    "RunHeader",
    "RunRequest",
    "RunSummary",
    "SummaryReason",
    "Task",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

Task = Literal["dynamics", "relax"]
Method = Literal["nve", "langevin", "fire", "lbfgs"]
RUN_PATHS: Mapping[Task, str] = {"dynamics": "/v1/dynamics", "relax": "/v1/relax"}
METHODS: Mapping[Task, tuple[Method, ...]] = {
    "dynamics": ("nve", "langevin"),
    "relax": ("fire", "lbfgs"),
}
EXTRA_COLUMNS = ("forces", "charges", "force_uncertainty")
"""What frames hold beside the rest if ``properties`` name it."""
RUN_UNITS = {
    "positions": "Å",
    "velocities": "Å/fs",
    "energy": "eV",
    "temperature_k": "K",
    "max_novelty": "1",
    "energy_uncertainty": "eV",
    "forces": "eV/Å",
    "charges": "e",
    "force_uncertainty": "eV/Å",
    "fmax": "eV/Å",
}

EndReason = Literal["finished", "converged", "not_converged", "stopped", "failed"]
"""Of one structure: all steps done; a minimum; no minimum within the steps; by a guard; by an
error."""
SummaryReason = Literal["finished", "draining", "deadline", "failed"]
"""Of the stream: every structure has ended; the server stops; the time is over; by an error."""


@dataclass(frozen=True)
class RunRequest:
    """What is to be moved, how, and what is to be told of it.

    Dynamics goes from each structure's ``start_step`` [B] to step ``steps``: a run that goes on
    asks with its last frame, and nothing else changes. ``streams`` [B] say which noise a structure
    has, wherever it lies in a request. ``velocities`` [N, 3] in Å/fs are 0 and ``masses`` [N] in u
    those of the elements where there are none. ``fixed`` [N] are atoms that stay. Relaxation takes
    ``steps`` at most.

    There is a frame where the step is a multiple of ``frame_interval`` (0: none between), and at
    the end. ``max_novelty`` and ``max_force_uncertainty`` (eV/Å) are guards: a frame beyond one is
    flagged, or ends its structure.
    """

    task: Task
    structures: StructureBatch
    model: str
    method: Method
    steps: int
    version: str | None = None
    frame_interval: int = 0
    properties: tuple[str, ...] = ()
    on_error: OnError = "raise"
    ids: tuple[str, ...] | None = None
    fixed: Bool | None = None
    max_novelty: float | None = None
    max_force_uncertainty: float | None = None
    on_guard: Literal["flag", "stop"] = "stop"
    # Dynamics.
    timestep_fs: float = 0.5
    temperature_k: float = 0.0
    friction_per_fs: float = 0.0
    seed: int = 0
    velocities: Float | None = None
    masses: Float | None = None
    start_steps: Int | None = None
    streams: Int | None = None
    # Relaxation.
    fmax: float = 0.05

    def part(self, chosen: Sequence[int]) -> RunRequest:
        """The same for structures ``chosen``, which keep their noise."""
        places = np.array(chosen, dtype=np.int64)
        batch = self.structures
        atoms = segments(batch.offsets[places], batch.n_atoms[places])
        streams = np.arange(len(batch)) if self.streams is None else self.streams
        return replace(
            self,
            structures=batch.select(places),
            ids=None if self.ids is None else tuple(self.ids[b] for b in chosen),
            fixed=None if self.fixed is None else self.fixed[atoms],
            velocities=None if self.velocities is None else self.velocities[atoms],
            masses=None if self.masses is None else self.masses[atoms],
            start_steps=None if self.start_steps is None else self.start_steps[places],
            streams=streams[places],
        )


@dataclass(frozen=True)
class RunHeader:
    """The first record: who moves the structures, and what holds for all that follows.

    ``digest`` and ``card_digest`` as in an answer to a prediction; ``warnings`` by structure;
    ``limits`` in the units of their names.
    """

    task: Task
    method: Method
    model: str
    version: str
    digest: str
    card_digest: str
    structures: int
    status: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    warnings: dict[int, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """A structure at a step, and all that is needed to go on from there.

    ``positions`` [n, 3] in Å, never wrapped into a cell; ``velocities`` [n, 3] in Å/fs of dynamics;
    ``energy`` in eV. ``fmax`` in eV/Å is of relaxation. ``warnings`` tell guards that were passed.
    """

    structure: int
    step: int
    positions: Float
    energy: float
    velocities: Float | None = None
    temperature_k: float | None = None
    max_novelty: float | None = None
    energy_uncertainty: float | None = None
    fmax: float | None = None
    forces: Float | None = None
    charges: Float | None = None
    force_uncertainty: Float | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """Steps that the structures have taken in this stream, in all; sent when nothing else is."""

    steps: int


@dataclass(frozen=True)
class End:
    """Why a structure moves no more, and after which step.

    ``problem`` is the document of what failed. ``drift`` in meV/atom/ps with its standard error,
    the blocks it was fitted through, and its duration in ps: of NVE runs that were long enough.
    """

    structure: int
    step: int
    reason: EndReason
    problem: dict[str, Any] | None = None
    drift_mev_per_atom_per_ps: float | None = None
    drift_standard_error_mev_per_atom_per_ps: float | None = None
    drift_blocks: int | None = None
    duration_ps: float | None = None
    mean_temperature_k: float | None = None


@dataclass(frozen=True)
class RunSummary:
    """The last record. A stream that ends without one was cut off: go on from the last frames."""

    reason: SummaryReason
    steps: int
    seconds: float
    paused_s: float = 0.0
    steps_per_s: float | None = None
    ns_per_day: float | None = None
    problem: dict[str, Any] | None = None


Record: TypeAlias = RunHeader | Frame | Progress | End | RunSummary
