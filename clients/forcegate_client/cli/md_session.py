"""One run of ``forcegate md``, from its first step or from where it stopped."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.progress import Progress

from forcegate_client.cli.console import err_console, with_state
from forcegate_client.cli.md_dynamics import StepsBy
from forcegate_client.cli.md_output import MDOutput, read_log, summary_of
from forcegate_client.cli.md_progress import md_progress
from forcegate_client.cli.md_run import Prepared, new_monitor, prepare, record
from forcegate_client.cli.md_settings import MDSettings
from forcegate_client.cli.signals import undisturbed
from forcegate_client.electrons import electrons_of
from forcegate_client.errors import OutputUnwritable
from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.md.checkpoint import CHECKPOINT, Checkpoint, Checkpointer
from forcegate_client.md.frames import FrameDynamics
from forcegate_client.md.monitor import MDMonitor
from forcegate_client.md.novelty_watch import NoveltyWatch
from forcegate_client.md.trajectories import TrajectoryFormat
from forcegate_client.potential import Potential
from forcegate_client.remarks import judge_of
from forcegate_client.writing.files import unwritable

__all__ = ["MDSession"]


class MDSession:
    """One run, from its first step or from a checkpoint to its end.

    At the end ``summary`` is what ``summary.json`` holds, and ``stop`` the signal that ended it.
    """

    def __init__(
        self,
        client: Potential,
        calculator: ModelCalculator,
        atoms: Atoms,
        settings: MDSettings,
        origin: dict[str, Any],
        formats: list[TrajectoryFormat],
        report: bool,
        by: StepsBy,
    ) -> None:
        assert calculator.version is not None
        assert calculator.digest is not None
        self._calculator = calculator
        self._atoms = atoms
        self._settings = settings
        self._origin = origin
        self._formats = formats
        self._report = report
        self._by = by
        self._rng = np.random.default_rng(settings.seed)
        judge = judge_of(
            client,
            calculator.model,
            calculator.version,
            calculator.digest,
            calculator.approval,
        )
        self._novelty = NoveltyWatch(client, judge)
        self.summary: dict[str, Any] = {}
        self.stop: KeyboardInterrupt | None = None

    def begin(self, folder: Path) -> None:
        """From the structure that was given."""
        with md_progress(err_console()) as progress:
            try:
                prepared = prepare(self._atoms, self._settings, self._by, self._rng, progress)
            except KeyboardInterrupt as stop:
                raise with_state(stop, "nothing was recorded yet, and nothing is kept") from stop
            self._record(folder, prepared, None, progress)

    def go_on(self, folder: Path, start: Checkpoint) -> None:
        """From a checkpoint of this run."""
        self._rng.bit_generator.state = start.random
        with md_progress(err_console()) as progress:
            self._record(folder, Prepared(start.n_dof, start.bonds), start, progress)

    def _record(
        self, folder: Path, prepared: Prepared, start: Checkpoint | None, progress: Progress
    ) -> None:
        settings = self._settings
        monitor = new_monitor(self._atoms, settings, self._by, self._rng, prepared, self._report)
        # A run that had its checkpoint before its first step begins anew with what was prepared.
        if start is not None and not start.step:
            start = None
        if start is not None:
            monitor.dynamics.nsteps = start.step
            if isinstance(monitor.dynamics, FrameDynamics) and start.velocities is not None:
                monitor.dynamics.velocities = start.velocities
            earlier = read_log(folder, start.step // settings.log_every + 1)
            monitor.take_up(earlier, start.broken, start.formed)
        step = None if start is None else start.step
        try:
            with MDOutput(folder, monitor, settings, self._formats, self._novelty, step) as output:
                first = Checkpoint(
                    step or 0,
                    self._atoms.copy(),
                    {},
                    asdict(settings),
                    self._served(),
                    self._origin,
                    prepared.n_dof,
                    prepared.bonds,
                )
                checkpointer = Checkpointer(
                    monitor.dynamics, self._rng, first, folder, lambda: monitor.bonds_changed
                )
                self.stop = record(monitor, settings, output, checkpointer, progress)
                with undisturbed():
                    checkpointer.save()
                    last = checkpointer.latest.atoms
                    self.summary = self._summary(monitor)
                    output.finish(last, self.summary, self._title(), settings.conserves_energy)
        except (OSError, OutputUnwritable) as error:
            told = error if isinstance(error, OutputUnwritable) else unwritable(folder, error)
            kept = folder / CHECKPOINT
            state = "nothing was recorded yet, and nothing is kept"
            if kept.is_file():
                state = f"the run is kept as of its last checkpoint in {kept}; with --continue it "
                state += "goes on"
            raise with_state(told, state) from error

    def _served(self) -> dict[str, Any]:
        return {
            "model": self._calculator.model,
            "version": self._calculator.version,
            "digest": self._calculator.digest,
            "approval": self._calculator.approval,
        }

    def _summary(self, monitor: MDMonitor) -> dict[str, Any]:
        periodic = bool(self._atoms.pbc.any())
        charged = electrons_of(self._atoms)[0] != 0
        return (
            self._served()
            | {name: self._origin[name] for name in ("file", "frame")}
            | {"formula": self._atoms.get_chemical_formula()}
            | asdict(self._settings)
            | {"interrupted": self.stop is not None, "steps_by": self._by.value}
            | summary_of(monitor.report(), self._settings.conserves_energy, self._novelty)
            | {"remarks": self._novelty.remarks(periodic=periodic, charged=charged)}
        )

    def _title(self) -> str:
        summary, settings = self.summary, self._settings
        target = "stored velocities"
        if settings.temperature_k is not None:
            target = f"{settings.temperature_k:g} K"
        return (
            f"{Path(summary['file']).name} ({summary['formula']}), {summary['model']} "
            f"{summary['version']}, {settings.ensemble.value}, {target}, "
            f"{settings.timestep_fs:g} fs, seed {settings.seed}"
        )
