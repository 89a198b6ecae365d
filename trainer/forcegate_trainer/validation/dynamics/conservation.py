"""Is energy conserved? Drift, fluctuation and temperature of microcanonical runs, and a control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forcegate_trainer.reports import number, table
from forcegate_trainer.validation.dynamics.figures import (
    plot_drifts,
    plot_energies,
    plot_temperatures,
)
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun
from forcegate_trainer.validation.dynamics.suite_runs import MDResults
from forcegate_trainer.validation.molecules import in_markdown
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.verdict import limit_of

__all__ = ["conservation_section"]

SHORTEST_PS = 10.0


def conservation_section(
    results: MDResults, control: Mapping[str, Mapping[str, Any]], teacher: str
) -> Section:
    """The judged part of the main run, beside ``control``: the teacher's own summaries by name."""
    runs, settings = results.judged, results.main.settings
    limit = limit_of("nve_drift_bound_max")
    bounds = [run.drift.bound_mev_per_atom_per_ps for run in runs if run.drift is not None]
    complete = len(bounds) == len(runs)
    within = sum(bound <= limit for bound in bounds)
    cold = [run.name for run in runs if not run.report.temperature_ok]
    strained = [run.name for run in runs if not run.report.relaxed]
    text = [
        f"{results.suite.drift_ps:g} ps of microcanonical dynamics at {settings.title}. Relaxed to "
        f"{settings.relax_fmax:g} eV/Å; velocities at twice the temperature (a relaxed structure "
        "gives half to its bonds), overall translation and rotation taken away without rescaling, "
        f"scaled once; {settings.settle_ps:g} ps not recorded; velocity Verlet. Drift is the slope "
        "of block means of the total energy with its standard error, and |drift| + 2 SE is held "
        f"against {limit:g} meV/atom/ps. A microcanonical temperature keeps σ = T/√n of n degrees "
        "of freedom: the mean should lie within 3σ of the target, and the halves within 3σ of "
        "each other. ΔE/E depends on the zero of energy and is given for comparison only.",
        f"**{within} of {len(runs)} molecules are within the limit"
        + (
            f"; the largest |drift| + 2 SE is {max(bounds):.4f} meV/atom/ps.**" if bounds else ".**"
        ),
        "![drift of each molecule](drift.png)",
        _table(runs),
    ]
    if results.suite.drift_ps < SHORTEST_PS:
        text.append(f"Less than {SHORTEST_PS:g} ps is a smoke test: it proves no conservation.")
    if cold:
        text.append("Temperature outside 3σ: " + ", ".join(map(in_markdown, cold)) + ".")
    if strained:
        text.append(
            "The relaxation did not converge: " + ", ".join(map(in_markdown, strained)) + "."
        )
    text += [
        "Drift measures how smooth the potential is and how good the integrator; it says nothing "
        "of accuracy.",
        "![total energies](energies.png)",
        "![temperatures](temperatures.png)",
        _control_text(results, control, teacher),
    ]
    return Section(
        title="Energy conservation",
        markdown="\n\n".join(text),
        figures={
            "drift": plot_drifts(runs, control, limit),
            "energies": plot_energies(results.main.runs),
            "temperatures": plot_temperatures(runs),
        },
        data={
            "molecules": [run.summary() for run in runs],
            "whole_run": [run.summary() for run in results.main.runs],
            "control": dict(control),
        },
        figures_for_verdict={"nve_drift_bound_max": max(bounds)} if bounds and complete else {},
    )


def _table(runs: Sequence[MoleculeRun]) -> str:
    headings = (
        "molecule",
        "atoms",
        "drift ± SE, meV/atom/ps",
        "\\|drift\\| + 2 SE",
        "RMS fluctuation, meV/atom",
        "mean T ± σ, K",
        "halves, K",
        "ΔE/E, %",
    )
    rows = []
    for run in runs:
        one = run.summary()
        first, second = one["half_temperatures_k"]
        rows.append(
            (
                in_markdown(run.name),
                one["atoms"],
                _drift(one),
                number(one["drift_bound"], 4),
                number(one["rms_fluctuation_mev_per_atom"], 3),
                f"{number(one['mean_temperature_k'], 0)} ± {one['temperature_sigma_k']:.0f}",
                f"{number(first, 0)}, {number(second, 0)}",
                "–"
                if one["relative_energy_change_percent"] is None
                else f"{one['relative_energy_change_percent']:.1e}",
            )
        )
    return table(headings, rows)


def _control_text(
    results: MDResults, control: Mapping[str, Mapping[str, Any]], teacher: str
) -> str:
    if not control:
        return f"**Control.** None: the teacher `{teacher}` was not run."
    runs = {run.name: run for run in results.main.runs}
    rows = []
    for name, one in control.items():
        student = runs[name].first(one["asked_ps"]).summary()
        rows.append(
            (
                in_markdown(name),
                f"{one['asked_ps']:g}",
                _drift(one) if one["survived"] else one["trouble"],
                _drift(student),
                number(one["rms_fluctuation_mev_per_atom"], 3),
                number(student["rms_fluctuation_mev_per_atom"], 3),
                f"{number(one['mean_temperature_k'], 0)} ± {one['temperature_sigma_k']:.0f}",
            )
        )
    headings = (
        "molecule",
        "ps",
        "teacher's drift ± SE",
        "student's drift ± SE",
        "teacher's fluctuation, meV/atom",
        "student's",
        "teacher's mean T ± σ, K",
    )
    return (
        f"**Control.** The same protocol with the teacher `{teacher}` in the student's place, for "
        "as long as its price allows, and the student over the same time: what both show is of "
        "the molecule and the integrator, not of the student.\n\n" + table(headings, rows)
    )


def _drift(one: Mapping[str, Any]) -> str:
    if one["drift_mev_per_atom_per_ps"] is None:
        return "–"
    return f"{one['drift_mev_per_atom_per_ps']:+.4f} ± {one['drift_standard_error']:.4f}"
