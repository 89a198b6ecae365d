"""Tables of results: numbers are whole at any width, remarks go below where there is no room."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["ResultTable", "spans"]

# A column of remarks that is narrower is a staircase.
_LEAST_REMARKS = 40
# A pipe and a file have no edge.
_ENDLESS = 1_000_000


class ResultTable:
    """Rows with remarks; ``texts`` and then ``numbers`` are the headings of their columns."""

    def __init__(
        self, texts: Sequence[str], numbers: Sequence[str], remarks: str = "remarks"
    ) -> None:
        self._texts = list(texts)
        self._numbers = list(numbers)
        self._remarks = remarks
        self._rows: list[tuple[list[str], list[str]]] = []

    def add(self, cells: Sequence[str], remarks: Iterable[str] = ()) -> None:
        """One row; its first cell is what remarks below the table name it by."""
        self._rows.append((list(cells), list(remarks)))

    def show(self, console: Console) -> None:
        """Print it, never narrower than its cells; ``console`` becomes as wide."""
        width = _width(console)
        bare = self._table("" for _ in self._rows)
        options = console.options.update(max_width=_ENDLESS)
        least = console.measure(bare, options=options).maximum
        joined = [" | ".join(remarks) for _, remarks in self._rows]
        room = width - least + len(self._remarks)
        inline = room >= min(_LEAST_REMARKS, max(map(cell_len, joined), default=0))
        notes = {} if inline else self._notes()
        console.width = max(width, least)
        console.print(self._table(joined if inline else self._references(notes)))
        for number, (text, rows) in enumerate(notes.items(), 1):
            where = f"{self._texts[0]} {spans(rows)}"
            console.print(Text(f"[{number}] {where}: {text}"), soft_wrap=True)

    def _notes(self) -> dict[str, list[str]]:
        """Each remark once, with the rows that have it."""
        notes: dict[str, list[str]] = {}
        for cells, remarks in self._rows:
            for text in remarks:
                notes.setdefault(text, []).append(cells[0])
        return notes

    def _references(self, notes: Iterable[str]) -> Iterator[str]:
        numbers = {text: f"[{number}]" for number, text in enumerate(notes, 1)}
        return (" ".join(numbers[text] for text in remarks) for _, remarks in self._rows)

    def _table(self, remarks: Iterable[str]) -> Table:
        table = Table()
        for heading in self._texts:
            table.add_column(heading, no_wrap=True, overflow="ignore")
        for heading in self._numbers:
            table.add_column(heading, justify="right", no_wrap=True, overflow="ignore")
        table.add_column(self._remarks, overflow="fold")
        for (cells, _), remark in zip(self._rows, remarks, strict=True):
            # Texts of other people: brackets in them are no markup.
            table.add_row(*map(Text, cells), Text(remark))
        return table


def spans(names: Sequence[str]) -> str:
    """``0–3, 7`` for numbers in a row; other names as they are, the first ten of them."""
    found: list[list[str]] = []
    for name in names:
        if found and name.isdecimal() and _follows(found[-1][-1], name):
            found[-1] = [found[-1][0], name]
        else:
            found.append([name])
    shown = ["–".join(span) for span in found[:10]]
    return ", ".join(shown) + (", …" if len(found) > len(shown) else "")


def _follows(last: str, name: str) -> bool:
    return last.isdecimal() and int(last) + 1 == int(name)


def _width(console: Console) -> int:
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return _ENDLESS
    return console.width
