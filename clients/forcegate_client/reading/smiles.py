"""Lists of SMILES: lines ``SMILES name``, and tables with a column of SMILES."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from rdkit import Chem, rdBase

from forcegate_client.reading.embedding import embed
from forcegate_client.reading.errors import InputUnreadable
from forcegate_client.reading.indexed import line_records, pairs
from forcegate_client.reading.names import named_column, smiles_column
from forcegate_client.reading.record import Parsed, RecordInvalid

__all__ = ["Table", "parse_line", "smiles_lines"]

# Lines that a quotation may go on for.
_LONGEST_ROW = 50

Int = npt.NDArray[np.int64]


def smiles_lines(file: io.BufferedReader) -> Int:
    """Lines with something in them, without a first one that is a heading."""
    bounds = line_records(file)
    if len(bounds):
        file.seek(int(bounds[0, 0]))
        first = _text(file.read(int(bounds[0, 1] - bounds[0, 0])))
        if smiles_column(first.replace(",", " ").split()) is not None and not _is_smiles(
            first.split()[0]
        ):
            return bounds[1:]
    return bounds


def parse_line(record: bytes) -> Parsed:
    """A line ``SMILES [name]``, separated by blanks, a tab or a comma.

    Raises:
        RecordInvalid: if it is no SMILES, or no coordinates are found for it.
    """
    text = _text(record).strip()
    smiles, *rest = text.split(None, 1)
    if "," in smiles:
        smiles, _, name = text.partition(",")
        rest = [name]
    return embed(smiles.strip(), rest[0].strip() if rest else "")


class Table:
    """CSV or TSV with a heading that names the column of SMILES; without one it is the first.

    ``records`` must have seen the file before ``parse`` is asked.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._delimiter = ","
        self._smiles = 0
        self._label: int | None = 1

    def records(self, file: io.BufferedReader) -> Int:
        """Bounds [S, 2] of the rows; a row may go over several lines.

        Raises:
            InputUnreadable: if no column is one of SMILES.
        """
        heading = _text(file.readline())
        self._delimiter = max("\t;,", key=heading.count)
        file.seek(0)
        bounds = array("q")
        first = True
        for begin, end, text in self._rows(file):
            row = self._cells(text)
            if any(cell.strip() for cell in row) and not (first and self._is_heading(row)):
                bounds.extend((begin, end))
            first = False
        return pairs(bounds)

    def _rows(self, file: io.BufferedReader) -> Iterator[tuple[int, int, str]]:
        """First byte, byte after the last, and text of each row.

        A quotation that is never closed costs its own line, and none of those that follow.
        """
        begin = 0
        while line := file.readline():
            end, text, alone = begin + len(line), _text(line), begin + len(line)
            for _ in range(_LONGEST_ROW):
                if not self._is_open(text) or not (line := file.readline()):
                    break
                end, text = end + len(line), text + _text(line)
            if self._is_open(text):
                file.seek(alone)
                end, text = alone, text.split("\n", 1)[0]
            yield begin, end, text
            begin = end

    def _is_open(self, text: str) -> bool:
        if '"' not in text:
            return False
        try:
            list(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            return "end of data" in str(error)
        return False

    def _cells(self, text: str) -> list[str]:
        """The cells of one row; nothing if it is none."""
        try:
            bare = io.StringIO(text.strip("\r\n"), newline="")
            return next(csv.reader(bare, delimiter=self._delimiter), [])
        except csv.Error:
            return [text]

    def parse(self, record: bytes) -> Parsed:
        """The molecule in a row.

        Raises:
            RecordInvalid: if it has no SMILES, or no coordinates are found for it.
        """
        row = self._cells(_text(record))
        label, smiles = self._cell(row, self._label), self._cell(row, self._smiles)
        if not smiles:
            raise RecordInvalid("smiles_invalid", "no SMILES in this row", label=label)
        return embed(smiles, label)

    def _cell(self, row: list[str], column: int | None) -> str:
        return "" if column is None or column >= len(row) else row[column].strip()

    def _is_heading(self, row: list[str]) -> bool:
        column = smiles_column(row)
        if column is None and row and _is_smiles(row[0].strip()):
            return False
        if column is None:
            raise InputUnreadable(
                f"{self._name} with the columns {', '.join(row)[:200]}",
                expected="a column named smiles",
                action="name it in the first line",
            )
        self._smiles, self._label = column, named_column(row)
        return True


def _is_smiles(text: str) -> bool:
    rdBase.DisableLog("rdApp.*")
    return bool(text) and Chem.MolFromSmiles(text, sanitize=False) is not None


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig", "replace")
