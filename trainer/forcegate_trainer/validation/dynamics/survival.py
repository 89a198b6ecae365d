"""How long, how hot and how coarse dynamics may be, and whether molecules stay whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forcegate_client.md.bonds import BROKEN, FORMED
from forcegate_trainer.reports import table
from forcegate_trainer.simulation.motion import MAX_FORCE
from forcegate_trainer.validation.dynamics.bond_watch import TORN
from forcegate_trainer.validation.dynamics.figures import plot_survival
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun, moment
from forcegate_trainer.validation.dynamics.suite_runs import MDResults, MDSeries
from forcegate_trainer.validation.molecules import in_markdown
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.verdict import LONGEST_TIMESTEP, limit_of

__all__ = ["survival_section", "unphysical"]


def unphysical(run: MoleculeRun, control: Mapping[str, Any] | None) -> bool:
    """Whether bonds changed that ``control``, the teacher's run of the molecule, keeps.

    Without a control every change of the starting structure's bonds counts.
    """
    if run.bonds_changed_ps is None:
        return False
    if control is None:
        return True
    broken = {(i, j) for i, j in control["bonds_broken"]}
    formed = {(i, j) for i, j in control["bonds_formed"]}
    md = run.report.md
    return not (md.bonds_broken <= broken and md.bonds_formed <= formed)


def survival_section(results: MDResults, control: Mapping[str, Mapping[str, Any]]) -> Section:
    """All runs of the suite; ``control`` holds the teacher's summaries by name."""
    series = results.all_series
    changed = [run for run in results.main.runs if unphysical(run, control.get(run.name))]
    troubles = [
        f"- {in_markdown(run.name)}, {one.settings.title}: {_story(run)}"
        for one in series
        for run in one.runs
        if not run.survived or run.bonds_changed_ps is not None
    ]
    lost = {
        "lost_at_300k": sum(not run.survived for run in results.main.runs),
        "lost_at_500k": sum(not run.survived for run in results.hot.runs),
    }
    compared = [name for name in control if any(run.name == name for run in results.main.runs)]
    text = [
        "A molecule is lost when its energy is no longer finite, a force exceeds "
        f"{MAX_FORCE:g} eV/Å or a bond is torn to {TORN:g} times the sum of its covalent radii; "
        f"the others go on without it. A bond counts as broken beyond {BROKEN:g} and as formed "
        f"within {FORMED:g} times that sum, looked at every "
        f"{results.main.settings.bonds_every} steps and compared with the starting structure. A "
        "change counts as unphysical unless the teacher's control shows it too (controlled: "
        + (", ".join(map(in_markdown, compared)) or "none")
        + "; for all others every change counts).",
        _series_table(series),
        "![which molecule lived through which run](survival.png)",
        "\n".join(troubles)
        if troubles
        else "No molecule was lost, and no bond changed, in any run.",
    ]
    longest = results.longest_timestep_fs(limit_of("nve_drift_bound_max"))
    varied = len(results.variations[0].runs) if results.variations else 0
    text.append(
        f"**`md` holds for timesteps up to {longest:g} fs**: all molecules are judged at "
        f"{results.main.settings.timestep_fs:g} fs, and longer steps count while the drift of each "
        f"of the {varied} molecules that are run with them stays within the limit."
    )
    coarse = [one for one in series if one.settings.timestep_fs >= 2.0]
    if coarse:
        text.append(
            "2 fs is close to what Verlet's method can follow of a vibrating X–H bond at all: "
            "where it breaks is told for information and no verdict."
        )
    return Section(
        title="How long, how hot, how coarse",
        markdown="\n\n".join(text),
        figures={"survival": plot_survival(series)},
        data={
            "unphysical_bond_changes": [run.name for run in changed],
            "controlled": compared,
            "longest_timestep_fs": longest,
            "runs": [
                {
                    "temperature_k": one.settings.temperature_k,
                    "timestep_fs": one.settings.timestep_fs,
                    "duration_ps": one.settings.duration_ps,
                    "molecules": [run.summary() for run in one.runs],
                }
                for one in series
            ],
        },
        figures_for_verdict={
            "unphysical_bond_changes": len(changed),
            **lost,
            LONGEST_TIMESTEP: longest,
        },
    )


def _series_table(series: Sequence[MDSeries]) -> str:
    rows = []
    for one in series:
        drifts = [run.drift for run in one.runs if run.drift is not None]
        bounds = sorted(drift.bound_mev_per_atom_per_ps for drift in drifts)
        rows.append(
            (
                one.settings.title,
                f"{one.settings.duration_ps:g}",
                len(one.runs),
                sum(run.survived for run in one.runs),
                sum(run.bonds_changed_ps is not None for run in one.runs),
                sum(run.report.temperature_ok for run in one.runs),
                f"{bounds[len(bounds) // 2]:.4f}" if bounds else None,
                f"{bounds[-1]:.4f}" if bounds else None,
            )
        )
    headings = (
        "run",
        "ps",
        "molecules",
        "survived",
        "bonds changed",
        "T within 3σ",
        "median \\|drift\\| + 2 SE, meV/atom/ps",
        "largest",
    )
    return table(headings, rows)


def _story(run: MoleculeRun) -> str:
    parts = []
    if run.bonds_changed_ps is not None:
        md = run.report.md
        parts += [
            f"{what} {', '.join(_bond(run, pair) for pair in sorted(pairs))}"
            for what, pairs in (("broke", md.bonds_broken), ("formed", md.bonds_formed))
            if pairs
        ]
        parts.append(f"first {moment(run.bonds_changed_ps)}")
    if not run.survived:
        parts.append(f"lost: {run.report.md.trouble}")
    return "; ".join(parts)


def _bond(run: MoleculeRun, pair: tuple[int, int]) -> str:
    symbols = run.report.final.get_chemical_symbols()
    return "–".join(f"{symbols[atom]}{atom}" for atom in pair)
