"""Which format a file is of: what the end of its name says, or what somebody tells."""

from __future__ import annotations

from pathlib import Path

from ase.io.formats import extension2format, ioformats

from forcegate_client.reading.errors import InputUnreadable

__all__ = ["COMPRESSED", "FORMATS", "format_of", "is_known"]

COMPRESSED = (".gz", ".bz2", ".xz")

# What this package reads itself, by the ends of names.
FORMATS: dict[str, str] = {
    **dict.fromkeys(("xyz", "extxyz"), "xyz"),
    **dict.fromkeys(("sdf", "sd", "mol", "mdl"), "sdf"),
    "mol2": "mol2",
    **dict.fromkeys(("smi", "smiles", "ism", "txt"), "smi"),
    **dict.fromkeys(("csv", "tsv"), "csv"),
    **dict.fromkeys(("pdb", "ent"), "pdb"),
    "cif": "cif",
    **dict.fromkeys(("h5", "hdf5"), "h5"),
}

# Of ASE's formats, those whose names end in nothing that other files end in too.
_ASE = frozenset(
    {
        *("traj", "db", "gen", "xsf", "cfg", "res", "vasp", "poscar", "xtd", "xsd", "gjf"),
        *("gro", "g96", "nwi", "pwi", "cube", "car", "arc", "cjson", "xtl", "rmc6f"),
    }
)
# Whole names by which ASE knows its files.
_NAMES = frozenset(("poscar", "contcar", "coord"))


def format_of(path: Path, told: str | None = None) -> str:
    """One of ``FORMATS``, ``ase:NAME`` for one of ASE's own, or ``ase`` to let it guess.

    The end of the name decides, without that of a compression, unless a format is ``told``.

    Raises:
        InputUnreadable: if ``told`` is no format.
    """
    if told is None:
        return FORMATS.get(_ending(path), "ase")
    if told.lower() in FORMATS:
        return FORMATS[told.lower()]
    if told in ioformats and ioformats[told].can_read:
        return f"ase:{told}"
    # By the end of a name, as a file would have it.
    if (found := extension2format.get(told.lower())) is not None and found.can_read:
        return f"ase:{found.name}"
    raise InputUnreadable(
        f"the format {told!r}",
        expected=f"{', '.join(FORMATS)}, or a name that ASE knows (ase info --formats)",
        action="correct --format",
    )


def is_known(path: Path) -> bool:
    """Whether the end of its name is that of a format of structures, and of nothing else."""
    ending = _ending(path)
    if not ending:
        return path.name.partition(".")[0].lower() in _NAMES
    return ending != "txt" and (ending in FORMATS or ending in _ASE)


def _ending(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1].removeprefix(".") if suffixes else ""
