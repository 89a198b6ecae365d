"""The dashboard *model health*: four kinds of drift, uncertainty, approval."""

from __future__ import annotations

from forcegate_monitoring.panels import Board, Panel, Query, Section
from forcegate_service.contract.card import VERDICTS

__all__ = ["HEALTH"]

_HERE = 'model=~"$model"'
_NAMES = "{{model}}/{{version}}"
# Simulations report once in a while: a shorter window would be empty most of the time.
_WINDOW = "1h"


def _share(part: str, whole: str) -> str:
    return (
        f"sum by (model, version) (rate({part}{{{_HERE}}}[{_WINDOW}]))"
        f" / sum by (model, version) (rate({whole}{{{_HERE}}}[{_WINDOW}]))"
    )


def _largest(gauge: str) -> str:
    return f"max by (model, version) ({gauge}{{{_HERE}}})"


def _counted(counter: str, by: str) -> str:
    return f"sum by (model, version, {by}) (increase({counter}{{{_HERE}}}[{_WINDOW}]))"


def _quantiles(histogram: str) -> list[Query]:
    rate = f"sum by (le, model, version) (rate({histogram}_bucket{{{_HERE}}}[{_WINDOW}]))"
    return [
        Query(f"histogram_quantile({quantile}, {rate})", f"{_NAMES} {name}")
        for quantile, name in ((0.5, "half"), (0.95, "95 %"))
    ]


HEALTH = Board(
    uid="forcegate-model-health",
    title="forcegate: model health",
    meaning="Whether models are right about what they are asked: drift of four kinds, approval.",
    variable="model",
    chosen_from="forcegate_model_info",
    sections=[
        Section(
            "What is served",
            [
                Panel(
                    "Versions and what they are approved for",
                    "One row for each digest: two of one version are an error.",
                    "none",
                    [
                        Query(
                            f"count by (model, version, digest, {', '.join(VERDICTS)}) "
                            f"(forcegate_model_info{{{_HERE}}})",
                            "",
                        )
                    ],
                    "table",
                ),
                Panel(
                    "Engine",
                    "1: the engine answers. 0: TorchScript does.",
                    "none",
                    [
                        Query(
                            f"min by (model, version) (forcegate_model_on_engine{{{_HERE}}})",
                            _NAMES,
                        )
                    ],
                ),
                Panel(
                    "Results that are not finite",
                    "In an hour.",
                    "none",
                    [
                        Query(
                            "sum by (model) (increase(forcegate_not_finite_total"
                            f"{{{_HERE}}}[{_WINDOW}]))",
                            "{{model}}",
                        )
                    ],
                ),
            ],
        ),
        Section(
            "Energy drift of simulations",
            [
                Panel(
                    "Drift",
                    "Of simulations at constant energy that clients report, in meV/atom/ps.",
                    "none",
                    _quantiles("forcegate_md_drift_mev_per_atom_per_ps"),
                ),
                Panel(
                    "Simulations that drift",
                    "The part of those that could be judged.",
                    "percentunit",
                    [
                        Query(
                            _share(
                                "forcegate_md_drifting_reports_total",
                                "forcegate_md_judged_reports_total",
                            ),
                            _NAMES,
                        )
                    ],
                ),
                Panel(
                    "Reports",
                    "In an hour, by outcome.",
                    "none",
                    [
                        Query(
                            _counted("forcegate_md_reports_total", "outcome"),
                            f"{_NAMES} {{{{outcome}}}}",
                        )
                    ],
                ),
                Panel(
                    "Blow-ups",
                    "In an hour, by reason.",
                    "none",
                    [
                        Query(
                            _counted("forcegate_md_blow_ups_total", "reason"),
                            f"{_NAMES} {{{{reason}}}}",
                        )
                    ],
                ),
                Panel(
                    "Temperature",
                    "Distance of the mean from the target, in standard deviations.",
                    "none",
                    _quantiles("forcegate_md_temperature_error_sigmas"),
                ),
            ],
        ),
        Section(
            "Novelty of what is asked",
            [
                Panel(
                    "Novel structures",
                    "The part of those that were looked at.",
                    "percentunit",
                    [
                        Query(
                            _share(
                                "forcegate_novel_structures_total",
                                "forcegate_watched_structures_total",
                            ),
                            _NAMES,
                        )
                    ],
                ),
                Panel(
                    "Novelty",
                    "Of a structure's strangest atom; about 1 in the training set.",
                    "none",
                    _quantiles("forcegate_max_novelty"),
                ),
                Panel(
                    "Uncertainty of the energy",
                    "Standard deviation, eV per atom.",
                    "none",
                    _quantiles("forcegate_energy_uncertainty_ev_per_atom"),
                ),
                Panel(
                    "Shift against the training set",
                    "Population stability index by feature; above 0.25 is a shift.",
                    "none",
                    [
                        Query(
                            f"max by (model, version, feature) (forcegate_input_psi{{{_HERE}}})",
                            f"{_NAMES} {{{{feature}}}}",
                        )
                    ],
                ),
                Panel(
                    "Structures compared",
                    "That the shift was computed from.",
                    "none",
                    [Query(_largest("forcegate_input_window_structures"), _NAMES)],
                ),
            ],
        ),
        Section(
            "Student against teacher",
            [
                Panel(
                    "Force error on live structures",
                    "Against what validation found, eV/Å, per component.",
                    "none",
                    [
                        Query(_largest(f"forcegate_shadow_force_{name}"), f"{_NAMES} {shown}")
                        for name, shown in (
                            ("rmse_ev_per_angstrom", "RMSE"),
                            ("mae_ev_per_angstrom", "MAE"),
                            ("rmse_expected_ev_per_angstrom", "RMSE expected"),
                        )
                    ],
                ),
                Panel(
                    "Structures labelled by the teacher",
                    "In an hour.",
                    "none",
                    [
                        Query(
                            "sum by (model, version) (increase(forcegate_shadow_structures_total"
                            f"{{{_HERE}}}[{_WINDOW}]))",
                            _NAMES,
                        )
                    ],
                ),
                Panel(
                    "Dropped before the teacher saw them",
                    "In an hour, by reason.",
                    "none",
                    [
                        Query(
                            _counted("forcegate_shadow_dropped_total", "reason"),
                            f"{_NAMES} {{{{reason}}}}",
                        )
                    ],
                ),
                Panel(
                    "Captured for the next training",
                    "In an hour, by reason.",
                    "none",
                    [
                        Query(
                            _counted("forcegate_captured_structures_total", "reason"),
                            f"{_NAMES} {{{{reason}}}}",
                        )
                    ],
                ),
                Panel(
                    "Captured, and given way since",
                    "In an hour, by what they had been kept for. Many of them: the folder is full, "
                    "and should be labelled.",
                    "none",
                    [
                        Query(
                            _counted("forcegate_capture_evicted_total", "reason"),
                            f"{_NAMES} {{{{reason}}}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)
