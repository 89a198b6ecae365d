"""What became of one molecule of a batched run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.md.drift import MIN_BLOCKS, Drift, energy_drift
from forcegate_client.md.monitor import MDReport, MDSamples
from forcegate_client.md.nve import NVEReport
from forcegate_trainer.reports import or_none

__all__ = ["MoleculeRun", "md_report", "moment"]

Float = npt.NDArray[np.float64]
Pair = tuple[int, int]

_LESS_THAN_A_STEP_PS = 1e-9


@dataclass(frozen=True)
class MoleculeRun:
    """One molecule of a run; ``asked_ps`` is how long it was to be.

    ``bonds_changed_ps`` is when the first bond broke or formed, ``lost_ps`` when the molecule
    blew up or came apart; negative before the recording began, None if it never happened.
    ``net_charge_errors`` [S] in e is what the charges' sum misses the net charge by at each sample
    of the report, NaN where the method tells no charges.
    """

    name: str
    report: NVEReport
    asked_ps: float
    bonds_changed_ps: float | None
    lost_ps: float | None
    net_charge_errors: Float

    @property
    def largest_net_charge_error(self) -> float | None:
        """In e, over the whole run; None where the method tells no charges."""
        known = np.abs(self.net_charge_errors[np.isfinite(self.net_charge_errors)])
        return float(known.max()) if len(known) else None

    @property
    def survived(self) -> bool:
        """Whether the run reached its end in one piece."""
        return self.lost_ps is None

    @property
    def drift(self) -> Drift | None:
        """Drift of the total energy over the whole run; None if it did not reach its end."""
        return self.report.drift if self.survived else None

    def first(self, duration_ps: float) -> MoleculeRun:
        """The same run as if it had been stopped after ``duration_ps``, without frames.

        Bonds that changed are those of the whole run if the first of them changed in this part.
        """
        if duration_ps >= self.asked_ps:
            return self
        changed = self.bonds_changed_ps is not None and self.bonds_changed_ps <= duration_ps
        lost = self.lost_ps is not None and self.lost_ps <= duration_ps
        md, samples = self.report.md, self.report.samples
        part = samples.times_ps <= duration_ps + _LESS_THAN_A_STEP_PS
        kept = MDSamples(
            samples.times_ps[part],
            samples.potential_ev[part],
            samples.kinetic_ev[part],
            samples.temperature_k[part],
        )
        shorter = md_report(
            kept,
            n_atoms=md.n_atoms,
            n_dof=md.n_dof,
            broken=md.bonds_broken if changed else frozenset(),
            formed=md.bonds_formed if changed else frozenset(),
            trouble=md.trouble if lost else None,
        )
        return replace(
            self,
            report=replace(self.report, md=shorter, samples=kept, frames=[]),
            asked_ps=duration_ps,
            bonds_changed_ps=self.bonds_changed_ps if changed else None,
            lost_ps=self.lost_ps if lost else None,
            net_charge_errors=self.net_charge_errors[part],
        )

    def summary(self) -> dict[str, Any]:
        """Every figure of the run for JSON; what is not known is None."""
        report, drift = self.report, self.drift
        halves = report.half_temperatures_k
        return {
            "molecule": self.name,
            "atoms": report.md.n_atoms,
            "degrees_of_freedom": report.md.n_dof,
            "temperature_k": report.temperature_k,
            "timestep_fs": report.timestep_fs,
            "asked_ps": self.asked_ps,
            "recorded_ps": report.md.duration_ps,
            "relaxed": report.relaxed,
            "survived": self.survived,
            "trouble": report.md.trouble,
            "lost_ps": self.lost_ps,
            "drift_mev_per_atom_per_ps": drift and drift.slope_mev_per_atom_per_ps,
            "drift_standard_error": drift and drift.standard_error_mev_per_atom_per_ps,
            "drift_bound": drift and drift.bound_mev_per_atom_per_ps,
            "rms_fluctuation_mev_per_atom": or_none(report.rms_fluctuation_mev_per_atom),
            "relative_energy_change_percent": or_none(report.relative_energy_change_percent),
            "mean_temperature_k": or_none(report.md.mean_temperature_k),
            "half_temperatures_k": [or_none(half) for half in halves],
            "temperature_sigma_k": report.temperature_sigma_k,
            "temperature_ok": report.temperature_ok,
            "largest_net_charge_error_e": self.largest_net_charge_error,
            "bonds_changed_ps": self.bonds_changed_ps,
            "bonds_broken": sorted(map(list, report.md.bonds_broken)),
            "bonds_formed": sorted(map(list, report.md.bonds_formed)),
        }


def md_report(
    samples: MDSamples,
    *,
    n_atoms: int,
    n_dof: int,
    broken: frozenset[Pair],
    formed: frozenset[Pair],
    trouble: str | None,
) -> MDReport:
    """What an ``MDMonitor`` that saw ``samples`` would report."""
    times = samples.times_ps
    return MDReport(
        n_atoms=n_atoms,
        n_dof=n_dof,
        duration_ps=float(np.ptp(times)) if len(times) else 0.0,
        mean_temperature_k=float(samples.temperature_k.mean()) if len(times) else np.nan,
        drift=energy_drift(times, samples.total_ev, n_atoms) if len(times) >= MIN_BLOCKS else None,
        bonds_broken=broken,
        bonds_formed=formed,
        trouble=trouble,
    )


def moment(time_ps: float) -> str:
    """When something happened, in words; the time before the recording is negative."""
    return f"at {time_ps:.3f} ps" if time_ps >= 0.0 else "before the recording began"
