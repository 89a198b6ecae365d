"""Dynamics of what has charges: is energy conserved, and does the charge stay where it is?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from forcegate_client.md.bonds import BROKEN
from forcegate_trainer.reports import ACCENT, clean, number, table
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun
from forcegate_trainer.validation.dynamics.suite_runs import MDResults
from forcegate_trainer.validation.molecules import in_markdown
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.verdict import limit_of

__all__ = ["charged_section"]

_TITLE = "Dynamics of ions"
_FIGURE = "net_charges"


def charged_section(results: MDResults) -> Section:
    """The runs of ``suite.charged``; nothing is judged where the subject does not know them all."""
    series, wanted = results.charged, results.suite.charged
    if series is None:
        return Section(_TITLE, "None: the subject does not know ions.", data={"molecules": []})
    runs, settings = series.runs, series.settings
    unknown = sorted(set(wanted) - {run.name for run in runs})
    told = any(run.largest_net_charge_error is not None for run in runs)
    parts = [
        f"{settings.duration_ps:g} ps of microcanonical dynamics at {settings.title}, by the "
        "protocol of energy conservation: ions, a zwitterion in water, and a molecule with "
        "bromine. A student gives charges by geometry alone, so their sum may wander from the net "
        "charge as the molecule moves; what it misses at most along the run is told. Bonds are "
        "compared with the starting structure, and a proton that goes over to a neighbor is told, "
        "not judged: the teacher may send it there too.",
        _table(runs),
        *([f"![what charges miss the net charge by]({_FIGURE}.png)"] if told else []),
    ]
    if unknown:
        parts.append("Unknown to the subject: " + ", ".join(unknown) + ". Nothing is judged.")
    return Section(
        title=_TITLE,
        markdown="\n\n".join(parts),
        figures={_FIGURE: _plot(runs)} if told else {},
        data={"molecules": [run.summary() for run in runs], "unknown": unknown},
        figures_for_verdict={} if unknown else _judged(runs),
    )


def _judged(runs: Sequence[MoleculeRun]) -> Mapping[str, float]:
    """What was measured of all; one that was lost has neither a drift nor a charge to its end."""
    lost = [run for run in runs if not run.survived]
    figures = {"charged_lost": float(len(lost))}
    bounds = [run.drift.bound_mev_per_atom_per_ps for run in runs if run.drift is not None]
    if len(bounds) == len(runs):
        figures["charged_drift_bound_max"] = max(bounds)
    missed = [run.largest_net_charge_error for run in runs]
    known = [one for one in missed if one is not None]
    if not lost and len(known) == len(runs):
        figures["charged_net_charge_error_max"] = max(known)
    return figures


def _table(runs: Sequence[MoleculeRun]) -> str:
    headings = (
        "molecule",
        "atoms",
        "drift ± SE, meV/atom/ps",
        "\\|drift\\| + 2 SE",
        "mean T ± σ, K",
        "net charge missed by at most, e",
        "what happened",
    )
    rows = []
    for run in runs:
        one = run.summary()
        drift = "–"
        if run.drift is not None:
            drift = f"{one['drift_mev_per_atom_per_ps']:+.4f} ± {one['drift_standard_error']:.4f}"
        rows.append(
            (
                in_markdown(run.name),
                one["atoms"],
                drift,
                number(one["drift_bound"], 4),
                f"{number(one['mean_temperature_k'], 0)} ± {one['temperature_sigma_k']:.0f}",
                number(one["largest_net_charge_error_e"], 4),
                _happened(run),
            )
        )
    return table(headings, rows)


def _happened(run: MoleculeRun) -> str:
    if not run.survived:
        return f"lost: {run.report.md.trouble}"
    if run.bonds_changed_ps is not None:
        return f"bonds changed (beyond {BROKEN:g} × covalent radii, or new ones)"
    return "whole"


def _plot(runs: Sequence[MoleculeRun]) -> Figure:
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    axis = figure.subplots()
    for run in runs:
        axis.plot(run.report.samples.times_ps, run.net_charge_errors, lw=0.6, label=run.name)
    limit = limit_of("charged_net_charge_error_max")
    for edge in (-limit, limit):
        axis.axhline(edge, color=ACCENT, lw=0.8, ls="--")
    largest = max(np.abs(run.net_charge_errors).max(initial=limit) for run in runs)
    axis.set_ylim(-1.3 * largest, 1.3 * largest)
    axis.set_xlabel("time / ps")
    axis.set_ylabel("Σ q − Q / e")
    axis.legend(frameon=False, fontsize=7, ncols=2)
    clean(axis)
    return figure
