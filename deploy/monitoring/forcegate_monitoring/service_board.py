"""The dashboard *service*: traffic, latency by phase, batching, saturation."""

from __future__ import annotations

from forcegate_monitoring.panels import Board, Panel, Query, Section

__all__ = ["SERVICE"]

_HERE = 'instance=~"$instance"'
_PREDICTIONS = f'{_HERE},route="/v1/predict"'
_WINDOW = "$__rate_interval"
_REQUEST = "forcegate_request_duration_seconds_bucket"


def _rate(metric: str, by: str, selected: str = _HERE) -> str:
    grouped = f"sum by ({by}) " if by else "sum "
    return f"{grouped}(rate({metric}{{{selected}}}[{_WINDOW}]))"


def _quantile(quantile: float, bucket: str, by: str, selected: str = _HERE) -> str:
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({quantile}, {_rate(bucket, grouped, selected)})"


def _latency(size: str) -> Panel:
    selected = f'{_HERE},size_class="{size}"'
    return Panel(
        f"Phases, {size} structures" if size != "1" else "Phases of a single structure",
        "The slowest twentieth in each phase: waiting, neighbour lists, model, answer.",
        "s",
        [Query(_quantile(0.95, "forcegate_phase_seconds_bucket", "phase", selected), "{{phase}}")],
    )


SERVICE = Board(
    uid="forcegate-service",
    title="forcegate: service",
    meaning="Traffic, latency by phase, batching and saturation of gateways.",
    variable="instance",
    chosen_from="forcegate_runtime_up",
    sections=[
        Section(
            "Now",
            [
                Panel(
                    "Gateways that evaluate",
                    "Those whose runtime is there.",
                    "none",
                    [Query(f"sum(forcegate_runtime_up{{{_HERE}}})", "up")],
                    "number",
                ),
                Panel(
                    "Predictions",
                    "Requests to /v1/predict.",
                    "reqps",
                    [Query(_rate("forcegate_requests_total", "", _PREDICTIONS), "predictions")],
                    "number",
                ),
                Panel(
                    "Structures",
                    "Those that got their prediction.",
                    "ops",
                    [Query(_rate("forcegate_structures_total", ""), "structures")],
                    "number",
                ),
                Panel(
                    "Builds",
                    "Gateways by the version that they run.",
                    "none",
                    [Query(f"count by (version) (forcegate_build_info{{{_HERE}}})", "{{version}}")],
                    "number",
                ),
            ],
        ),
        Section(
            "Traffic",
            [
                Panel(
                    "Requests by status",
                    "All routes.",
                    "reqps",
                    [Query(_rate("forcegate_requests_total", "code"), "{{code}}")],
                ),
                Panel(
                    "Structures by model",
                    "Those that got their prediction.",
                    "ops",
                    [Query(_rate("forcegate_structures_total", "model"), "{{model}}")],
                ),
                Panel(
                    "Refused and given up",
                    "Problem documents by code, and requests whose caller left or whose time ran "
                    "out.",
                    "reqps",
                    [
                        Query(_rate("forcegate_rejected_requests_total", "code"), "{{code}}"),
                        Query(_rate("forcegate_cancelled_total", "reason"), "gave up: {{reason}}"),
                    ],
                ),
                Panel(
                    "Structures refused",
                    "By code, also within requests that were answered.",
                    "ops",
                    [Query(_rate("forcegate_rejected_structures_total", "reason"), "{{reason}}")],
                ),
            ],
        ),
        Section(
            "Latency",
            [
                Panel(
                    "A single structure",
                    "Answered predictions of one structure: steps of dynamics.",
                    "s",
                    [
                        Query(
                            _quantile(
                                quantile,
                                _REQUEST,
                                "",
                                f'{_PREDICTIONS},code_class="2xx",size_class="1"',
                            ),
                            name,
                        )
                        for quantile, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
                    ],
                ),
                Panel(
                    "By size",
                    "The slowest twentieth, by number of structures.",
                    "s",
                    [
                        Query(
                            _quantile(0.95, _REQUEST, "size_class", _PREDICTIONS), "{{size_class}}"
                        )
                    ],
                ),
                *map(_latency, ("1", "2-32", "33+")),
            ],
        ),
        Section(
            "Batching",
            [
                Panel(
                    "Structures in a batch",
                    "Mean, and the largest tenth.",
                    "none",
                    [
                        Query(
                            f"{_rate('forcegate_batch_structures_sum', '')}"
                            f" / {_rate('forcegate_batch_structures_count', '')}",
                            "mean",
                        ),
                        Query(_quantile(0.9, "forcegate_batch_structures_bucket", ""), "90 %"),
                    ],
                ),
                Panel(
                    "Edges in a batch",
                    "Mean, and the largest tenth.",
                    "none",
                    [
                        Query(
                            f"{_rate('forcegate_batch_edges_sum', '')}"
                            f" / {_rate('forcegate_batch_edges_count', '')}",
                            "mean",
                        ),
                        Query(_quantile(0.9, "forcegate_batch_edges_bucket", ""), "90 %"),
                    ],
                ),
            ],
        ),
        Section(
            "Saturation",
            [
                Panel(
                    "Work and budget",
                    "In predicted seconds; beyond the budget callers wait.",
                    "s",
                    [
                        Query(f"sum(forcegate_admitted_seconds{{{_HERE}}})", "admitted"),
                        Query(f"sum(forcegate_queued_seconds{{{_HERE}}})", "queued"),
                        Query(f"sum(forcegate_queue_budget_seconds{{{_HERE}}})", "budget"),
                    ],
                ),
                Panel(
                    "Busy",
                    "The part of the time that the runtime computes.",
                    "percentunit",
                    [
                        Query(
                            _rate("forcegate_runtime_busy_seconds_total", "instance"),
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    "Told to come back (429)",
                    "The part of predictions.",
                    "percentunit",
                    [
                        Query(
                            _rate("forcegate_requests_total", "", f'{_PREDICTIONS},code="429"')
                            + " / "
                            + _rate("forcegate_requests_total", "", _PREDICTIONS),
                            "429",
                        )
                    ],
                ),
                Panel(
                    "Inference processes started again",
                    "After a death.",
                    "none",
                    [
                        Query(
                            "sum by (instance) (increase(forcegate_inference_process_restarts_total"
                            f"{{{_HERE}}}[{_WINDOW}]))",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    "Memory",
                    "Of the gateway's own process.",
                    "bytes",
                    [
                        Query(
                            f'process_resident_memory_bytes{{{_HERE},job="forcegate"}}',
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    "Processor",
                    "Cores that the gateway's own process uses.",
                    "none",
                    [
                        Query(
                            _rate(
                                "process_cpu_seconds_total", "instance", f'{_HERE},job="forcegate"'
                            ),
                            "{{instance}}",
                        )
                    ],
                ),
            ],
        ),
        Section(
            "Runs on the server",
            [
                Panel(
                    "Runs",
                    "Structures that move, their streams, and those of them that wait for a client "
                    "that reads slowly.",
                    "none",
                    [
                        Query(f"sum(forcegate_run_structures{{{_HERE}}})", "structures"),
                        Query(f"sum(forcegate_run_streams{{{_HERE}}})", "streams"),
                        Query(f"sum(forcegate_run_streams_paused{{{_HERE}}})", "paused"),
                    ],
                ),
                Panel(
                    "Steps",
                    "Of dynamics and relaxation, a second.",
                    "none",
                    [
                        Query(
                            _rate("forcegate_run_steps_total", "model, method"),
                            "{{model}} {{method}}",
                        )
                    ],
                ),
                Panel(
                    "Nanoseconds of dynamics a day",
                    "Of all runs together, at this pace.",
                    "none",
                    [
                        Query(
                            "86400 * " + _rate("forcegate_run_simulated_ns_total", "model"),
                            "{{model}}",
                        )
                    ],
                ),
                Panel(
                    "Structures that end, and go on",
                    "By the reason for which they ended; resumed ones began at a frame of before; "
                    "pauses are of streams.",
                    "none",
                    [
                        Query(
                            _rate("forcegate_run_structures_ended_total", "reason"), "{{reason}}"
                        ),
                        Query(
                            _rate(
                                "forcegate_run_structures_begun_total",
                                "",
                                f'{_HERE},resumed="true"',
                            ),
                            "resumed",
                        ),
                        Query(_rate("forcegate_run_pauses_total", ""), "pauses"),
                    ],
                ),
            ],
        ),
    ],
)
