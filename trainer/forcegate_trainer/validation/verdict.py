"""From figures to a verdict per use: the one table of thresholds.

A figure that should be small is approved up to its limit, a matter of caution up to twice the
limit, and rejected beyond. For a figure that should be large and is 1 at best, the shortfall from 1
is what should be small: 0.95 demanded means 0.90 for caution. Where nothing may happen at all, the
limit is zero, twice that is zero too, and one event rejects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from forcegate_client.md.drift import DRIFT_LIMIT_MEV_PER_ATOM_PER_PS
from forcegate_service.contract.card import VERDICTS, Approval

__all__ = [
    "CRITERIA",
    "LONGEST_TIMESTEP",
    "Criterion",
    "Judgement",
    "Verdict",
    "judge",
    "limit_of",
]


@dataclass(frozen=True)
class Criterion:
    """``figure`` must not exceed ``limit``, or must reach it if ``higher_is_better``."""

    use: str
    figure: str
    meaning: str
    limit: float
    higher_is_better: bool = False

    @property
    def caution_limit(self) -> float:
        """Where caution ends and rejection begins."""
        return 1.0 - 2.0 * (1.0 - self.limit) if self.higher_is_better else 2.0 * self.limit

    def judge(self, value: float | None) -> Approval:
        """What ``value`` means for the use; None was not measured."""
        if value is None:
            return "not_validated"
        if self.higher_is_better:
            good, bearable = value >= self.limit, value >= self.caution_limit
        else:
            good, bearable = value <= self.limit, value <= self.caution_limit
        return "approved" if good else "caution" if bearable else "rejected"


CRITERIA = (
    Criterion(
        "md",
        "nve_drift_bound_max",
        "largest |drift| + 2 SE of 10 ps NVE, meV/atom/ps",
        DRIFT_LIMIT_MEV_PER_ATOM_PER_PS,
    ),
    Criterion("md", "unphysical_bond_changes", "molecules whose bonds changed at 300 K", 0.0),
    Criterion(
        "md", "trajectory_force_rmse", "force RMSE on the student's own trajectories, eV/Å", 0.10
    ),
    Criterion("md", "lost_at_300k", "molecules that did not survive 50 ps at 300 K", 0.0),
    Criterion("md", "lost_at_500k", "molecules that did not survive 10 ps at 500 K", 0.0),
    Criterion(
        "relax", "heavy_atom_rmsd_median", "median heavy-atom RMSD to the teacher's minimum, Å", 0.1
    ),
    Criterion(
        "relax", "relaxed_fraction", "fraction of relaxations that converged intact", 0.95, True
    ),
    Criterion(
        "screening",
        "conformer_pair_mae_kcal",
        "MAE of conformers' energy differences, mean over molecules, kcal/mol",
        0.5,
    ),
    Criterion(
        "screening",
        "conformer_spearman",
        "rank correlation of conformers' energies",
        0.9,
        True,
    ),
    Criterion(
        "torsion", "torsion_mae_kcal", "MAE of torsion profiles, mean over molecules, kcal/mol", 0.5
    ),
    Criterion("torsion", "torsion_barrier_mae_kcal", "mean error of barriers, kcal/mol", 1.0),
    Criterion("binding", "s66_mae_kcal", "MAE to CCSD(T) of S66, kcal/mol", 1.0),
    Criterion("binding", "s66_wrong_signs", "pairs of S66 that are repelled", 0.0),
    Criterion(
        "binding",
        "water_worst_kcal",
        "largest error of a water cluster, kcal/mol per molecule",
        1.0,
    ),
    Criterion(
        "ions",
        "ion_force_rmse_worst_kind",
        "force RMSE of cations, anions or zwitterions, whichever is worst, eV/Å",
        0.16,
    ),
    Criterion(
        "ions",
        "net_charge_error_q99",
        "what 99 % of molecules miss their net charge by at most, e",
        0.03,
    ),
    Criterion(
        "ions",
        "ion_neutral_rest_kcal",
        "between an ion and a neutral molecule 12 Å away, beyond their multipoles, kcal/mol",
        0.05,
    ),
    Criterion(
        "ions",
        "charged_drift_bound_max",
        "largest |drift| + 2 SE of 10 ps NVE of ions, meV/atom/ps",
        DRIFT_LIMIT_MEV_PER_ATOM_PER_PS,
    ),
    Criterion("ions", "charged_lost", "ions that did not survive 10 ps at 300 K", 0.0),
    Criterion(
        "ions",
        "charged_net_charge_error_max",
        "what charges miss the net charge by at most along these runs, e",
        0.03,
    ),
)

# Periodic systems were not trained on: nothing is measured that could approve them.

# A figure that judges nothing: up to which step (fs) the verdict ``md`` holds.
LONGEST_TIMESTEP = "md_longest_timestep_fs"

_FEW = "this suite is too short to judge by"
_UNTRAINED = "students are not trained on periodic systems, and nothing about them was measured"


@dataclass(frozen=True)
class Judgement:
    """One criterion with what was measured (None: nothing) and what that means."""

    criterion: Criterion
    value: float | None
    status: Approval

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self.criterion), "value": self.value, "status": self.status}


@dataclass(frozen=True)
class Verdict:
    """What a subject may be used for; ``decided_by`` are figures, or a reason without any.

    ``holds_for`` says in words what the verdict is restricted to, None if nothing.
    """

    use: str
    status: Approval
    judgements: tuple[Judgement, ...]
    decided_by: tuple[str, ...]
    holds_for: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "status": self.status,
            "decided_by": list(self.decided_by),
            "holds_for": self.holds_for,
            "criteria": [judgement.to_json() for judgement in self.judgements],
        }


def limit_of(figure: str) -> float:
    """The limit that a figure is held against."""
    return next(criterion.limit for criterion in CRITERIA if criterion.figure == figure)


def judge(figures: Mapping[str, float], *, judges: bool = True) -> dict[str, Verdict]:
    """A verdict for each of ``VERDICTS`` from measured ``figures``.

    One rejecting figure rejects, whatever else was measured; otherwise a figure that is missing
    leaves the use not validated; otherwise the worst figure decides. With ``judges`` False the
    figures come from runs that are too short for the limits, and nothing is judged.
    """
    return {use: _judge(use, figures, judges) for use in VERDICTS}


def _judge(use: str, figures: Mapping[str, float], judges: bool) -> Verdict:
    criteria = [criterion for criterion in CRITERIA if criterion.use == use]
    if not criteria or not judges:
        return Verdict(use, "not_validated", (), (_FEW if criteria else _UNTRAINED,))
    judgements = tuple(_judgement(one, figures.get(one.figure)) for one in criteria)
    found = {judgement.status for judgement in judgements}
    order: tuple[Approval, ...] = ("rejected", "not_validated", "caution", "approved")
    status = next(status for status in order if status in found)
    decisive = tuple(
        judgement.criterion.figure for judgement in judgements if judgement.status == status
    )
    return Verdict(use, status, judgements, decisive, _holds_for(use, status, figures))


def _holds_for(use: str, status: Approval, figures: Mapping[str, float]) -> str | None:
    longest = figures.get(LONGEST_TIMESTEP)
    if use != "md" or longest is None or status not in ("approved", "caution"):
        return None
    return f"timesteps up to {longest:g} fs"


def _judgement(criterion: Criterion, value: float | None) -> Judgement:
    return Judgement(criterion, value, criterion.judge(value))
