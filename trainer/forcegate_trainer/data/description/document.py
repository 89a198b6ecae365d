"""The statistics of a dataset as a page: tables, and the figures where there are some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from forcegate_trainer.data.description.statistics import Counts, Statistics
from forcegate_trainer.reports import number, table

__all__ = ["markdown"]

CAPTIONS = {
    "splits": "Molecules, frames and atoms of each split.",
    "elements": "Molecules and pairs that contain an element, in each split.",
    "sizes": "Sizes of molecules and of frames.",
    "sources": "How the frames were made.",
    "temperatures": "Temperatures of the dynamics that the frames are of.",
    "forces": "Forces on atoms, by source.",
    "energies": "Energies of frames less a linear fit to their composition, by source.",
    "dropped": "Frames that were made but not kept.",
}


def markdown(statistics: Statistics, title: str, figures: Iterable[str]) -> str:
    """The page; ``figures`` names the PNG files beside it."""
    drawn = set(figures)
    sections = [
        f"# {title}",
        _introduction(statistics),
        _section("Splits", "splits", _counts("split", statistics.splits), drawn),
        _section("Sources", "sources", _counts("source", statistics.sources), drawn),
        _section("Elements", "elements", _elements(statistics), drawn),
        _section(
            "Temperatures", "temperatures", _counts("K", statistics.temperatures), drawn
        ),
        _section("Charges and groups", "groups", _chemistry(statistics), drawn),
        _section("Sizes", "sizes", _sizes(statistics), drawn),
        _section("Labels", "forces", _labels(statistics), drawn, "energies"),
        _section("Dropped", "dropped", _dropped(statistics), drawn),
    ]  # fmt: skip
    return "\n\n".join(sections) + "\n"


def _introduction(statistics: Statistics) -> str:
    total, teacher = statistics.total, statistics.teacher
    labels = "not labelled"
    if teacher is not None:
        settings = ", ".join(f"{key} {value}" for key, value in teacher["settings"].items())
        labels = f"labelled by {teacher['name']} {teacher['version']}"
        labels += f" ({settings})" if settings else ""
    leaks = statistics.keys_in_several_splits
    lines = [
        f"{total.frames:,} frames of {total.molecules:,} molecules and {total.pairs:,} pairs of "
        f"molecules, {total.atoms:,} atoms; {labels}.",
        f"Split keys (of monomers of pairs too) in more than one split: {leaks or 'none'}.",
        f"Frames with a moved proton: {statistics.frames_with_moved_proton:,}. "
        f"Molecules and pairs without a frame, counted nowhere: "
        f"{statistics.molecules_without_frames:,}.",
        f"Content `{statistics.content_hash}`.",
    ]
    return "\n\n".join(lines)


def _section(
    title: str, figure: str, content: str, drawn: set[str], second: str | None = None
) -> str:
    names = [name for name in (figure, second) if name is not None and name in drawn]
    return "\n\n".join(
        [f"## {title}", content, *(f"![{CAPTIONS[name]}]({name}.png)" for name in names)]
    )


def _counts(heading: str, groups: Mapping[str, Counts]) -> str:
    labelled = all(counts.forces is not None for counts in groups.values())
    headings = [heading, "molecules", "pairs", "frames", "atoms"]
    if labelled:
        headings += ["force RMS / eV/Å", "largest force / eV/Å"]
    rows: list[Sequence[object]] = []
    for name, counts in groups.items():
        amounts = (counts.molecules, counts.pairs, counts.frames, counts.atoms)
        row: list[object] = [name.replace("_", " "), *(f"{amount:,}" for amount in amounts)]
        if counts.forces is not None:
            row += [number(counts.forces.component_rms, 3), number(counts.forces.norm_max, 1)]
        rows.append(row)
    return table(headings, rows)


def _elements(statistics: Statistics) -> str:
    splits = list(statistics.splits)
    fitted = None if statistics.energies is None else statistics.energies.element_energies
    headings = ["element", "atoms", "frames", "molecules and pairs", *(f"of {s}" for s in splits)]
    if fitted is not None:
        headings.append("fitted energy / eV")
    rows = []
    for symbol, element in statistics.elements.items():
        amounts = [element.atoms, element.frames, element.molecules]
        amounts += [element.molecules_of_split[split] for split in splits]
        row = [symbol, *(f"{amount:,}" for amount in amounts)]
        if fitted is not None:
            row.append(f"{fitted[symbol]:.3f}")
        rows.append(row)
    return table(headings, rows)


def _sizes(statistics: Statistics) -> str:
    headings = ["", *next(iter(statistics.sizes.values()))]
    rows = [
        [name, *(f"{value:g}" for value in quantiles.values())]
        for name, quantiles in statistics.sizes.items()
    ]
    return table(headings, rows)


def _chemistry(statistics: Statistics) -> str:
    found = statistics.chemistry
    parts = [
        table(["molecules", ""], [[name, f"{n:,}"] for name, n in found.charges.items()]),
        table(["group", "molecules"], [[name, f"{n:,}"] for name, n in found.groups.items()]),
    ]
    if found.unreadable:
        parts.append(f"{found.unreadable:,} molecules are not identified and counted in neither.")
    return "\n\n".join(parts)


def _labels(statistics: Statistics) -> str:
    forces, energies = statistics.total.forces, statistics.energies
    if forces is None or energies is None:
        return "There are none: no forces, no energies."
    rows = [
        ["force component, RMS", f"{forces.component_rms:.3f} eV/Å"],
        ["force on an atom, median", f"{forces.norm_median:.3f} eV/Å"],
        ["force on an atom, 95 %", f"{forces.norm_95:.3f} eV/Å"],
        ["force on an atom, largest", f"{forces.norm_max:.3f} eV/Å"],
        ["energy less a fit to the composition, RMS", f"{energies.rms:.1f} meV/atom"],
        ["… smallest", f"{energies.smallest:.1f} meV/atom"],
        ["… largest", f"{energies.largest:.1f} meV/atom"],
    ]
    return table(["", "all frames"], rows)


def _dropped(statistics: Statistics) -> str:
    if not statistics.dropped:
        return "None was counted."
    rows = [
        [reason.replace("_", " "), f"{dropped.count:,}", f"{dropped.share:.2%}"]
        for reason, dropped in statistics.dropped.items()
    ]
    return table(["reason", "frames", "share of all that were made"], rows)
