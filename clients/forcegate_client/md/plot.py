"""Energies and temperature of a molecular-dynamics run as one figure."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from forcegate_client.md.drift import Drift
from forcegate_client.md.monitor import MDSamples

__all__ = ["plot_run"]

POTENTIAL, TOTAL, HEAT, TARGET = "#4c72b0", "#222222", "#c44e52", "#8c8c8c"
# Above the axes, where there is no data to hide.
LEGEND: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1.0, 0.98),
    "ncols": 2,
    "frameon": False,
    "fontsize": 9,
}
# More points than pixels only make the file large.
MAX_POINTS = 4000


def plot_run(
    samples: MDSamples,
    n_atoms: int,
    temperature_K: float | None,
    title: str,
    drift: Drift | None = None,
) -> Figure:
    """Potential and total energy (eV, from their start) and temperature (K) against time (ps).

    With ``drift`` a panel in between shows the total energy in meV per atom: samples, block means
    and the fitted line. Save the figure with ``figure.savefig("run.png", dpi=150)``.
    """
    rows = 2 if drift is None else 3
    figure = Figure(figsize=(8.0, 2.4 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    thin = slice(None, None, max(1, len(samples.times_ps) // MAX_POINTS))
    times = samples.times_ps[thin]

    potential = samples.potential_ev - samples.potential_ev[:1].sum()
    total = samples.total_ev - samples.total_ev[:1].sum()
    axes[0].plot(times, potential[thin], color=POTENTIAL, lw=0.7, label="potential")
    axes[0].plot(times, total[thin], color=TOTAL, lw=1.0, label="total")
    axes[0].set_ylabel("E − E(start) / eV")
    axes[0].legend(**LEGEND)

    if drift is not None:
        per_atom = total * 1000.0 / n_atoms
        blocks_t = [part.mean() for part in np.array_split(samples.times_ps, drift.n_blocks)]
        blocks_e = [part.mean() for part in np.array_split(per_atom, drift.n_blocks)]
        middle_t, middle_e = np.mean(blocks_t), np.mean(blocks_e)
        line = middle_e + drift.slope_mev_per_atom_per_ps * (times - middle_t)
        axes[1].plot(times, per_atom[thin], color=TARGET, lw=0.4, alpha=0.6)
        axes[1].plot(blocks_t, blocks_e, "o", color=TOTAL, ms=4, label="block means")
        axes[1].plot(times, line, color=HEAT, lw=1.2, label=f"drift {_judged(drift)}")
        axes[1].set_ylabel("total / meV per atom")
        axes[1].legend(**LEGEND)

    heat = axes[-1]
    heat.plot(times, samples.temperature_k[thin], color=HEAT, lw=0.5, alpha=0.8)
    if temperature_K is not None:
        target = f"target {temperature_K:g} K"
        heat.axhline(temperature_K, color=TARGET, ls="--", lw=1.0, label=target)
    mean = float(samples.temperature_k.mean())
    heat.axhline(mean, color=TOTAL, lw=1.0, label=f"mean {mean:.1f} K")
    heat.set_ylabel("temperature / K")
    heat.set_xlabel("time / ps")
    heat.legend(**LEGEND)

    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.01)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure


def _judged(drift: Drift) -> str:
    # Of a run that is too short its text says so itself.
    verdict = drift.verdict().value
    return str(drift) if verdict in str(drift) else f"{drift}: {verdict}"
