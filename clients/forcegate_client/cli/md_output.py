"""What ``forcegate md`` leaves on disk: trajectories, log, plot and summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ase import Atoms

from forcegate_client.cli.md_settings import MDSettings
from forcegate_client.md.drift import DRIFT_LIMIT_MEV_PER_ATOM_PER_PS
from forcegate_client.md.monitor import MDMonitor, MDReport, MDSamples
from forcegate_client.md.novelty_watch import NoveltyWatch
from forcegate_client.md.plot import plot_run
from forcegate_client.md.trajectories import TrajectoryFormat, open_trajectory
from forcegate_client.writing.extxyz import write_frames
from forcegate_client.writing.files import replacing, write_text

__all__ = ["LOG", "MDOutput", "read_log", "summary_of"]

LOG = "log.csv"
COLUMNS = ("time_ps", "potential_ev", "kinetic_ev", "total_ev", "temperature_k")


class MDOutput:
    """Files of one run in ``directory``; what was written survives a crash at any time.

    ``step`` is where the run goes on: what was written after it is taken away first.
    """

    def __init__(
        self,
        directory: Path,
        monitor: MDMonitor,
        settings: MDSettings,
        formats: Sequence[TrajectoryFormat],
        novelty: NoveltyWatch,
        step: int | None = None,
    ) -> None:
        self._directory = directory
        self._monitor = monitor
        self._atoms = monitor.dynamics.atoms
        self._novelty = novelty
        every, timestep = settings.frame_every, settings.timestep_fs
        keep = 0 if step is None else step // every + 1
        self._trajectories = [
            open_trajectory(
                directory / f"trajectory.{kind}", kind, len(self._atoms), timestep, every, keep
            )
            for kind in formats
        ]
        lines = 0 if step is None else step // settings.log_every + 2
        kept = _first_lines(directory / LOG, lines)
        # Line-buffered: `tail -f` shows the run as it is.
        self._log = (directory / LOG).open("w", newline="", buffering=1)
        self._log.writelines(kept)
        self._rows = csv.writer(self._log)
        if not kept:
            self._rows.writerow(COLUMNS)

    def __enter__(self) -> MDOutput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for close in (self._log.close, *(file.close for file in self._trajectories)):
            # What could not be written before cannot be now, and was told.
            with suppress(OSError):
                close()

    def log(self) -> None:
        """Add the monitor's latest sample to the log."""
        last = self._monitor.last
        self._rows.writerow(
            (
                f"{last.time_ps:.5f}",
                f"{last.potential_ev:.9f}",
                f"{last.kinetic_ev:.9f}",
                f"{last.total_ev:.9f}",
                f"{last.temperature_k:.3f}",
            )
        )

    def frame(self) -> None:
        """Add the present frame, with energy, forces and momenta, to the trajectories."""
        novelty = self._novelty.look(self._atoms)
        if novelty is not None:
            self._atoms.info["max_novelty"] = novelty
        for trajectory in self._trajectories:
            trajectory.write(self._atoms)

    def finish(
        self, last: Atoms, summary: dict[str, Any], title: str, conserves_energy: bool
    ) -> None:
        """Write the last frame, the plot and the summary.

        Raises:
            OutputUnwritable: if there is no room for one of them.
        """
        write_frames(self._directory / "final.extxyz", [last])
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        write_text(self._directory / "summary.json", text + "\n")
        if self._monitor.n_samples:
            figure = plot_run(
                self._monitor.samples,
                n_atoms=len(last),
                temperature_K=summary["temperature_k"],
                title=title,
                drift=self._monitor.drift() if conserves_energy else None,
            )
            with replacing(self._directory / "run.png") as aside:
                figure.savefig(aside, dpi=150, format="png")


def read_log(directory: Path, rows: int) -> MDSamples:
    """The first ``rows`` samples in the log of a run."""
    lines = _first_lines(directory / LOG, rows + 1)[1:]
    table = np.array([line.split(",") for line in lines], dtype=np.float64).reshape(-1, 5)
    return MDSamples(table[:, 0], table[:, 1], table[:, 2], table[:, 4])


def summary_of(report: MDReport, conserves_energy: bool, novelty: NoveltyWatch) -> dict[str, Any]:
    """The part of ``summary.json`` that was measured."""
    drift = report.drift if conserves_energy else None
    seen = report.duration_ps > 0.0
    return {
        "n_atoms": report.n_atoms,
        "n_dof": report.n_dof,
        "simulated_ps": report.duration_ps,
        "mean_temperature_k": report.mean_temperature_k if seen else None,
        "drift_mev_per_atom_per_ps": drift and drift.slope_mev_per_atom_per_ps,
        "drift_standard_error_mev_per_atom_per_ps": drift
        and drift.standard_error_mev_per_atom_per_ps,
        "drift_limit_mev_per_atom_per_ps": drift and DRIFT_LIMIT_MEV_PER_ATOM_PER_PS,
        "drift_verdict": drift and drift.verdict().value,
        "max_novelty": novelty.largest,
        "novelty_limit": novelty.judge.novelty_limit,
        "novel_frames": novelty.novel_frames,
        "bonds_broken": sorted(report.bonds_broken),
        "bonds_formed": sorted(report.bonds_formed),
        "trouble": report.trouble,
    }


def _first_lines(path: Path, count: int) -> list[str]:
    if count == 0 or not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(islice(file, count))
