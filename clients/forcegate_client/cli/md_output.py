"""What ``forcegate md`` leaves on disk: trajectory, log, plot and summary."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import TracebackType
from typing import Any

from ase.io import write
from ase.io.trajectory import Trajectory

from forcegate_client.md_plot import plot_run
from forcegate_client.monitor import MDMonitor, MDReport

__all__ = ["LOG", "MDOutput", "summary_of"]

LOG = "log.csv"
COLUMNS = ("time_ps", "potential_ev", "kinetic_ev", "total_ev", "temperature_k")


class MDOutput:
    """Files of one run in ``directory``; what was written survives a crash at any time."""

    def __init__(self, directory: Path, monitor: MDMonitor) -> None:
        self._directory = directory
        self._monitor = monitor
        self._atoms = monitor.dynamics.atoms
        self._trajectory = Trajectory(str(directory / "trajectory.traj"), "w", self._atoms)
        # Line-buffered: `tail -f` shows the run as it is.
        self._log = (directory / LOG).open("w", newline="", buffering=1)
        self._rows = csv.writer(self._log)
        self._rows.writerow(COLUMNS)

    def __enter__(self) -> MDOutput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._log.close()
        self._trajectory.close()

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
        """Add the present frame, with energy, forces and momenta, to the trajectory."""
        self._trajectory.write()

    def finish(self, summary: dict[str, Any], title: str, conserves_energy: bool) -> None:
        """Write the last frame, the plot and the summary."""
        last = self._atoms.copy()
        write(self._directory / "final.extxyz", last, format="extxyz")
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        (self._directory / "summary.json").write_text(text + "\n", encoding="utf-8")
        if self._monitor.n_samples:
            figure = plot_run(
                self._monitor.samples,
                n_atoms=len(last),
                temperature_K=summary["temperature_k"],
                title=title,
                drift=self._monitor.drift() if conserves_energy else None,
            )
            figure.savefig(self._directory / "run.png", dpi=150)


def summary_of(report: MDReport, conserves_energy: bool) -> dict[str, Any]:
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
        "bonds_broken": sorted(report.bonds_broken),
        "bonds_formed": sorted(report.bonds_formed),
        "trouble": report.trouble,
    }
