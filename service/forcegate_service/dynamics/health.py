"""What a run that has ended says of the model: a report like those that clients send."""

from __future__ import annotations

import math
import secrets

from forcegate_client.errors import ForcegateError
from forcegate_client.md.blow_up import BlowUp, blow_up_of
from forcegate_service.contract.card import ModelCard
from forcegate_service.dynamics.guards import Guard
from forcegate_service.dynamics.run import Run
from forcegate_service.watch.md_runs.report import MDReportBody

__all__ = ["report_of"]

# What is beyond is no figure of a run, which has blown up.
_HOTTEST_K, _STEEPEST = 1e6, 1e6


def report_of(
    run: Run, guard: Guard, card: ModelCard, error: ForcegateError | None
) -> MDReportBody | None:
    """The report of ``run`` of dynamics, which ended with ``error`` if it did; None of others."""
    request = run.request
    steps = run.state.step - run.start_step
    if request.task != "dynamics" or not steps:
        return None
    thermostat = request.method == "langevin"
    target = request.temperature_k if thermostat else None
    spread = None if target is None else target * math.sqrt(2.0 / max(run.n_dof, 1))
    drift, mean_k = guard.drift, guard.mean_temperature_k
    if mean_k is not None and not mean_k <= _HOTTEST_K:
        mean_k = None
    if drift is not None and not drift.bound_mev_per_atom_per_ps <= _STEEPEST:
        drift = None
    return MDReportBody(
        run=secrets.token_hex(16),
        sequence=0,
        model=card.name,
        version=card.version,
        digest=card.digest,
        ensemble="nvt" if thermostat else "nve",
        timestep_fs=request.timestep_fs,
        n_atoms=len(run.numbers),
        duration_ps=steps * request.timestep_fs * 1e-3,
        target_temperature_k=target,
        mean_temperature_k=mean_k,
        temperature_sigma_k=spread,
        drift_mev_per_atom_per_ps=None if drift is None else drift.slope_mev_per_atom_per_ps,
        drift_standard_error_mev_per_atom_per_ps=None
        if drift is None
        else drift.standard_error_mev_per_atom_per_ps,
        final=True,
        blow_up=_blow_up(error),
    )


def _blow_up(error: ForcegateError | None) -> BlowUp | None:
    if error is None:
        return None
    if error.code == "dynamics_blew_up":
        return "temperature" if "temperature" in error.received else "energy"
    return blow_up_of(error)
