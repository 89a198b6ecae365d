"""Figures of what a dataset contains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forcegate_client.dataset import Dataset, Source, Split
from forcegate_trainer.data.description.composition import composition_of
from forcegate_trainer.data.description.labels import energies_beyond_elements, force_norms
from forcegate_trainer.data.description.statistics import Counts, Statistics, temperature_name
from forcegate_trainer.reports import INK, clean

__all__ = ["draw"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# A split or a source has one colour in all figures.
SPLIT_COLOURS = {"train": "#4c72b0", "validation": "#dd8452", "test": "#c44e52"}
SOURCE_COLOURS = dict(
    zip(
        [source.name.lower() for source in Source],
        ["#8c8c8c", "#4c72b0", "#ccb974", "#222222", "#dd8452", "#55a868", "#8172b3", "#c44e52",
         "#64b5cd", "#937860", "#da8bc3", "#bcbd22"],
        strict=True,
    )
)  # fmt: skip
MOLECULES = "#4c72b0"
# More temperatures than this were not chosen by hand: they are drawn as a distribution.
MOST_BARS = 12
BINS = 100


def draw(dataset: Dataset, statistics: Statistics) -> dict[str, Figure]:
    """The figures by name: without labels no forces and energies, without losses none of these."""
    figures = {
        "splits": _splits(statistics),
        "elements": _elements(statistics),
        "sizes": _sizes(dataset),
        "sources": _sources(dataset, statistics),
        "temperatures": _temperatures(dataset, statistics),
    }
    if dataset.is_labelled:
        figures["forces"] = _forces(dataset, statistics)
        figures["energies"] = _energies(dataset, statistics)
    if statistics.dropped:
        figures["dropped"] = _dropped(statistics)
    return figures


def _splits(statistics: Statistics) -> Figure:
    figure = Figure(figsize=(10.0, 3.4), layout="constrained")
    names = list(statistics.splits)
    colours = [SPLIT_COLOURS[name] for name in names]
    for axes, quantity in zip(
        figure.subplots(1, 3), ("molecules and pairs", "frames", "atoms"), strict=True
    ):
        values = [_amount(statistics.splits[name], quantity) for name in names]
        bars = axes.bar(names, values, color=colours, width=0.7)
        axes.bar_label(bars, [f"{value:,}" for value in values], fontsize=9, padding=2)
        _log_counts(axes, values)
        axes.set_xlim(-0.6, len(SPLIT_COLOURS) - 0.4)
        axes.set_title(quantity, fontsize=10)
        clean(axes)
    return figure


def _amount(counts: Counts, quantity: str) -> int:
    return {
        "molecules and pairs": counts.molecules + counts.pairs,
        "frames": counts.frames,
        "atoms": counts.atoms,
    }[quantity]


def _elements(statistics: Statistics) -> Figure:
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    axes = figure.subplots()
    symbols = list(statistics.elements)
    splits = list(statistics.splits)
    width = 0.84 / len(splits)
    heights = []
    for number, split in enumerate(splits):
        values = [statistics.elements[s].molecules_of_split[split] for s in symbols]
        heights += values
        place = np.arange(len(symbols)) + (number - 0.5 * (len(splits) - 1)) * width
        bars = axes.bar(place, values, 0.94 * width, color=SPLIT_COLOURS[split], label=split)
        axes.bar_label(bars, [f"{value:,}" for value in values], fontsize=8, padding=2)
    axes.set_xticks(np.arange(len(symbols)), symbols)
    _log_counts(axes, heights)
    axes.set_ylabel("molecules and pairs that contain it")
    _legend(axes, len(splits))
    clean(axes)
    return figure


def _sizes(dataset: Dataset) -> Figure:
    figure = Figure(figsize=(10.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    composition = composition_of(dataset)
    heavy, pairs = composition.heavy_atoms, composition.pairs
    kinds = {
        name: (values, colour)
        for name, values, colour in (
            ("molecules", heavy[~pairs], MOLECULES),
            ("pairs", heavy[pairs], SOURCE_COLOURS["dimer"]),
        )
        if len(values)
    }
    left.hist(
        [values for values, _ in kinds.values()],
        bins=_whole_numbers(heavy),
        stacked=True,
        color=[colour for _, colour in kinds.values()],
        label=list(kinds),
    )
    left.set_xlabel("atoms other than hydrogen")
    left.set_ylabel("molecules and pairs")
    _legend(left, len(kinds), at_the_side=False)
    right.hist(dataset.n_atoms, bins=_whole_numbers(dataset.n_atoms), color=INK)
    right.set_xlabel("atoms with hydrogen")
    right.set_ylabel("frames")
    clean(left, right)
    return figure


def _sources(dataset: Dataset, statistics: Statistics) -> Figure:
    figure = Figure(figsize=(10.0, 0.5 * len(statistics.sources) + 1.6), layout="constrained")
    axes = figure.subplots()
    names = sorted(statistics.sources, key=lambda name: statistics.sources[name].frames)
    left = np.zeros(len(names))
    for split in statistics.splits:
        chosen = dataset.source[dataset.split == Split[split.upper()]]
        frames = np.array([np.sum(chosen == Source[name.upper()]) for name in names])
        axes.barh(names, frames, left=left, color=SPLIT_COLOURS[split], label=split)
        left += frames
    for place, frames in enumerate(left.astype(int).tolist()):
        share = frames / len(dataset)
        axes.annotate(
            f"{frames:,} ({share:.1%})",
            (frames, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xlim(right=1.15 * left.max())
    axes.set_yticks(range(len(names)), [_words(name) for name in names])
    axes.set_xlabel("frames")
    _legend(axes, len(statistics.splits))
    clean(axes)
    return figure


def _temperatures(dataset: Dataset, statistics: Statistics) -> Figure:
    figure = Figure(figsize=(10.0, 3.6), layout="constrained")
    axes = figure.subplots()
    kelvin, place = np.unique(dataset.temperature, return_inverse=True)
    members = _by_source(dataset, statistics)
    if len(kelvin) <= MOST_BARS:
        bottom = np.zeros(len(kelvin))
        for name, chosen in members.items():
            frames = np.bincount(place[chosen], minlength=len(kelvin))
            axes.bar(
                range(len(kelvin)), frames, 0.7, bottom, color=SOURCE_COLOURS[name],
                label=_words(name),
            )  # fmt: skip
            bottom += frames
        axes.set_xticks(range(len(kelvin)), [temperature_name(t) for t in kelvin.tolist()])
    else:
        thermal = dataset.temperature > 0
        axes.hist(
            [dataset.temperature[chosen & thermal] for chosen in members.values()],
            bins=50,
            stacked=True,
            color=[SOURCE_COLOURS[name] for name in members],
            label=[_words(name) for name in members],
        )
    axes.set_xlabel("temperature of the dynamics / K")
    axes.set_ylabel("frames")
    _legend(axes, len(members))
    clean(axes)
    return figure


def _forces(dataset: Dataset, statistics: Statistics) -> Figure:
    norms = force_norms(dataset)
    samples = {
        name: norms[np.repeat(chosen, dataset.n_atoms)]
        for name, chosen in _by_source(dataset, statistics).items()
    }
    return _distributions(samples, "force on an atom, |F| / eV/Å", "atoms")


def _energies(dataset: Dataset, statistics: Statistics) -> Figure:
    rest, _ = energies_beyond_elements(dataset, composition_of(dataset))
    samples = {name: rest[chosen] for name, chosen in _by_source(dataset, statistics).items()}
    return _distributions(
        samples, "energy less a linear fit to the composition / meV/atom", "frames"
    )


def _distributions(samples: Mapping[str, Float], quantity: str, counted: str) -> Figure:
    """Histograms with common bins, one line a source, counts on a logarithmic axis."""
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    axes = figure.subplots()
    edges = np.histogram_bin_edges(np.concatenate(list(samples.values())), bins=BINS)
    for name, values in samples.items():
        counts, _ = np.histogram(values, edges)
        # Empty bins leave gaps in the line: a logarithm has no place for them.
        axes.stairs(
            np.where(counts > 0, counts, np.nan), edges, color=SOURCE_COLOURS[name], lw=1.4,
            label=_words(name),
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel(quantity)
    axes.set_ylabel(f"{counted} in a bin of {edges[1] - edges[0]:.2g}")
    _legend(axes, len(samples))
    clean(axes)
    return figure


def _dropped(statistics: Statistics) -> Figure:
    reasons = list(statistics.dropped)[::-1]
    figure = Figure(figsize=(10.0, 0.42 * len(reasons) + 1.4), layout="constrained")
    axes = figure.subplots()
    counts = [statistics.dropped[reason].count for reason in reasons]
    bars = axes.barh(range(len(reasons)), counts, color=INK, height=0.7)
    labels = [f"{d.count:,} ({d.share:.2%})" for d in map(statistics.dropped.get, reasons) if d]
    axes.bar_label(bars, labels, fontsize=9, padding=4)
    axes.set_yticks(range(len(reasons)), [_words(reason) for reason in reasons])
    axes.set_xscale("log")
    axes.set_xlim(0.5, 6.0 * max(counts))
    axes.set_xlabel("frames dropped, and their share of all that were made")
    clean(axes)
    return figure


def _by_source(dataset: Dataset, statistics: Statistics) -> dict[str, npt.NDArray[np.bool_]]:
    return {name: dataset.source == Source[name.upper()] for name in statistics.sources}


def _whole_numbers(values: Int) -> Float:
    """Edges of bins of one whole number each, or of a few where there are many."""
    low, high = int(values.min()), int(values.max())
    width = max(1, (high - low) // BINS + 1)
    return np.arange(low, high + width + 1, width, dtype=np.float64) - 0.5


def _log_counts(axes: Axes, values: Sequence[int]) -> None:
    """A logarithmic axis on which a count of one is seen, with room for labels."""
    axes.set_yscale("log")
    axes.set_ylim(0.5, 4.0 * max(values))


def _legend(axes: Axes, entries: int, *, at_the_side: bool = True) -> None:
    if entries > 1 and at_the_side:
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    elif entries > 1:
        axes.legend(frameon=False, fontsize=9)


def _words(name: str) -> str:
    return name.replace("_", " ")
