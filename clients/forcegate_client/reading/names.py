"""What a structure is called: names and SMILES among the many keys under which files keep them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["label_of", "named_column", "smiles_column", "smiles_of"]

_NAMES = ("label", "name", "title", "id", "compound", "molecule")
_SMILES = ("smiles", "canonical_smiles", "isomeric_smiles")


def label_of(entries: Mapping[Any, Any]) -> str:
    """The name in ``entries``, or nothing."""
    return _first(entries, _NAMES)


def smiles_of(entries: Mapping[Any, Any]) -> str:
    """The SMILES in ``entries``, or nothing."""
    return _first(entries, _SMILES)


def smiles_column(headings: Iterable[str]) -> int | None:
    """The column of a table that holds SMILES; None if no heading says so."""
    plain = [heading.strip().lower() for heading in headings]
    exact = [column for column, heading in enumerate(plain) if heading in _SMILES]
    similar = [column for column, heading in enumerate(plain) if "smiles" in heading]
    return next(iter(exact + similar), None)


def named_column(headings: Iterable[str]) -> int | None:
    """The column of a table that holds names; None if there is none."""
    plain = [heading.strip().lower() for heading in headings]
    exact = [plain.index(name) for name in _NAMES if name in plain]
    similar = [
        column
        for column, heading in enumerate(plain)
        if heading.endswith(("name", "_id", " id", "chemblid"))
    ]
    return next(iter(exact + similar), None)


def _first(entries: Mapping[Any, Any], wanted: tuple[str, ...]) -> str:
    texts = {
        key.lower(): str(value)
        for key, value in entries.items()
        if isinstance(key, str) and isinstance(value, str | int) and not isinstance(value, bool)
    }
    return next((texts[key] for key in wanted if texts.get(key)), "")
