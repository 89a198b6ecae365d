"""Dynamics whose steps a server takes: what it is asked for, and what its records mean."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any, Literal

import numpy as np
from ase import Atoms, units

from forcegate_client.constraints import fixed_atoms
from forcegate_client.errors import ForcegateError, WrongAnswer
from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.http.course import error_in, response_of
from forcegate_client.md.drift import Drift
from forcegate_client.md.frames import FrameDynamics, State
from forcegate_client.runs import End, Frame, Record, RunHeader, RunRequest
from forcegate_client.structures import StructureBatch

__all__ = ["ServerDynamics", "Together"]


class ServerDynamics(FrameDynamics):
    """``FrameDynamics`` by a server; ``atoms.calc`` has what the last frame says.

    Atoms that ``FixAtoms`` holds stay. ``properties`` name what frames hold beside the energy:
    ``forces``, ``charges`` (e), ``force_uncertainty`` (eV/Å). ``max_novelty`` and
    ``max_force_uncertainty`` (eV/Å) are guards: a frame beyond one ends the run, or with
    ``on_guard="flag"`` is told in the log.

    ``error`` is what ended the run, and ``end`` how it has ended, once it has: at constant energy
    with ``drift``, which the server has fitted through more of its energies than frames show.
    """

    # Nobody need tell the server how a run of its own goes.
    watched_by_server = True

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        *,
        properties: Sequence[str] = ("forces",),
        max_novelty: float | None = None,
        max_force_uncertainty: float | None = None,
        on_guard: Literal["flag", "stop"] = "stop",
        **options: Any,
    ) -> None:
        """``atoms`` have a calculator; ``options`` are those of ``FrameDynamics``.

        Raises:
            InvalidStructure: if a constraint holds anything but whole atoms.
        """
        fixed_atoms(atoms)
        self.end: End | None = None
        self.error: ForcegateError | None = None
        self.asked: dict[str, Any] = {
            "properties": tuple(properties),
            "max_novelty": max_novelty,
            "max_force_uncertainty": max_force_uncertainty,
            "on_guard": on_guard,
        }
        super().__init__(atoms, timestep, **options)

    @property
    def drift(self) -> Drift | None:
        """Of the total energy, by the server, since it last began to take steps; ``None`` of runs
        that are too short, have not ended, or conserve nothing.
        """
        end = self.end
        if end is None or end.drift_mev_per_atom_per_ps is None:
            return None
        assert end.drift_standard_error_mev_per_atom_per_ps is not None
        return Drift(
            end.drift_mev_per_atom_per_ps,
            end.drift_standard_error_mev_per_atom_per_ps,
            end.drift_blocks or 0,
            end.duration_ps or 0.0,
        )


class Together:
    """Runs of one kind in one request, from where each is to step ``until``."""

    def __init__(self, runs: Sequence[ServerDynamics], until: int) -> None:
        self._runs = runs
        self._header: RunHeader | None = None
        for run in runs:
            run.end = run.error = None
        first = runs[0]
        calculator: ModelCalculator = first.atoms.calc
        self.request = RunRequest(
            task="dynamics",
            structures=StructureBatch.from_atoms([run.atoms for run in runs]),
            model=calculator.model,
            version=calculator.version,
            method="nve" if first.temperature_K is None else "langevin",
            steps=until,
            frame_interval=_frame_interval(runs),
            # One that fails does so alone.
            on_error="raise" if len(runs) == 1 else "partial",
            timestep_fs=first.dt / units.fs,
            temperature_k=first.temperature_K or 0.0,
            friction_per_fs=first.friction_per_fs,
            seed=first.seed,
            velocities=np.concatenate([run.velocities for run in runs]),
            masses=np.concatenate([run.atoms.get_masses() for run in runs]),
            fixed=np.concatenate([fixed_atoms(run.atoms) for run in runs]),
            start_steps=np.array([run.nsteps for run in runs], dtype=np.int64),
            streams=np.array([run.stream for run in runs], dtype=np.int64),
            **first.asked,
        )

    def take(self, record: Record) -> tuple[int, State] | None:
        """Which of the runs has come to which state, if ``record`` tells; ends are kept."""
        if isinstance(record, RunHeader):
            self._header = record
        if isinstance(record, Frame):
            run = self._runs[record.structure]
            # Where the run is already there is nothing new.
            if record.step > run.nsteps:
                assert self._header is not None
                assert record.velocities is not None
                response = response_of(self._header, record)
                return record.structure, State(
                    record.step, record.positions, record.velocities, response
                )
        if isinstance(record, End):
            run = self._runs[record.structure]
            run.end, run.error = record, error_in(record)
            if record.reason == "finished" and run.nsteps != self.request.steps:
                run.error = WrongAnswer(
                    f"the end of a run after {run.nsteps} steps",
                    expected=f"frames to step {self.request.steps}",
                    action="check the server's version",
                )
        return None


def _frame_interval(runs: Sequence[ServerDynamics]) -> int:
    """A frame at each multiple of it is one wherever somebody looks; 0 if nobody does."""
    return gcd(*(abs(interval) for run in runs for interval in run.intervals))
