"""The molecule table of a dataset: one row a molecule (or a dimer)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forcegate_client.dataset.errors import DatasetMismatchError
from forcegate_client.dataset.schema import Split


@dataclass(frozen=True, eq=False)
class MoleculeTable:
    """M molecules: identity, charge state and split.

    ``smiles``, ``inchikey`` and ``split_key`` are tuples of M strings. The split key is the
    connectivity block of the canonical tautomer's InChIKey: molecules that share it are one
    molecule where splits are concerned (a dimer has its monomers' keys, joined by ``.``).
    ``charge`` (e), ``multiplicity`` (2S+1) and ``split`` (codes of :class:`Split`) are i64 [M].
    """

    smiles: tuple[str, ...]
    inchikey: tuple[str, ...]
    split_key: tuple[str, ...]
    charge: NDArray[np.int64]
    multiplicity: NDArray[np.int64]
    split: NDArray[np.int64]

    def __post_init__(self) -> None:
        lengths = {
            name: len(getattr(self, name))
            for name in ("smiles", "inchikey", "split_key", "charge", "multiplicity", "split")
        }
        if len(set(lengths.values())) > 1:
            raise DatasetMismatchError(
                f"received a molecule table with columns of lengths {lengths}",
                expected="one length",
                action="give every molecule a value in every column",
            )

    def __len__(self) -> int:
        return len(self.smiles)

    @classmethod
    def closed_shell(
        cls,
        smiles: Sequence[str],
        inchikey: Sequence[str],
        split_key: Sequence[str],
        split: Sequence[Split],
        charge: Sequence[int] | None = None,
    ) -> "MoleculeTable":
        """A table of singlets with these net charges (e); without any, of neutral ones."""
        return cls(
            tuple(smiles),
            tuple(inchikey),
            tuple(split_key),
            np.asarray([0] * len(smiles) if charge is None else charge, dtype=np.int64),
            np.ones(len(smiles), dtype=np.int64),
            np.asarray(split, dtype=np.int64),
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns as files have them, by their names there."""
        columns: dict[str, NDArray[Any]] = {
            "molecules/charge": self.charge,
            "molecules/multiplicity": self.multiplicity,
            "molecules/split": self.split.astype(np.uint8),
        }
        for name in ("smiles", "inchikey", "split_key"):
            encoded = [text.encode() for text in getattr(self, name)]
            columns[f"molecules/{name}"] = np.array(encoded, dtype="S" if encoded else "S1")
        return columns

    def take(self, rows: NDArray[np.int64]) -> "MoleculeTable":
        """The table with only these rows, in this order."""
        return MoleculeTable(
            tuple(self.smiles[row] for row in rows),
            tuple(self.inchikey[row] for row in rows),
            tuple(self.split_key[row] for row in rows),
            self.charge[rows],
            self.multiplicity[rows],
            self.split[rows],
        )

    def identity(self, row: int) -> tuple[str, int, int]:
        """What makes two rows the same molecule: SMILES, charge and multiplicity."""
        return self.smiles[row], int(self.charge[row]), int(self.multiplicity[row])


def merge_tables(
    tables: Sequence[MoleculeTable],
) -> tuple[MoleculeTable, list[NDArray[np.int64]]]:
    """One table of all molecules, each once, and for each input the new row of each old row.

    Raises:
        DatasetMismatchError: if a molecule, or a split key, is in two different splits: training on
            their union would leak test molecules into training.
    """
    rows: dict[tuple[str, int, int], int] = {}
    split_of_key: dict[str, tuple[int, str]] = {}
    origin: list[tuple[MoleculeTable, int]] = []
    mappings: list[NDArray[np.int64]] = []
    for table in tables:
        mapping = np.empty(len(table), dtype=np.int64)
        for row in range(len(table)):
            split = int(table.split[row])
            known, smiles = split_of_key.setdefault(
                table.split_key[row], (split, table.smiles[row])
            )
            if known != split:
                raise DatasetMismatchError(
                    f"received {table.smiles[row]} in split {Split(split).name.lower()}, but "
                    f"{smiles}, the same molecule up to tautomers and stereochemistry, in split "
                    f"{Split(known).name.lower()}",
                    expected="one split a molecule",
                    action="make both datasets from molecule lists with the same split seed",
                )
            identity = table.identity(row)
            if identity not in rows:
                rows[identity] = len(origin)
                origin.append((table, row))
            mapping[row] = rows[identity]
        mappings.append(mapping)
    merged = MoleculeTable(
        tuple(table.smiles[row] for table, row in origin),
        tuple(table.inchikey[row] for table, row in origin),
        tuple(table.split_key[row] for table, row in origin),
        np.array([table.charge[row] for table, row in origin], dtype=np.int64),
        np.array([table.multiplicity[row] for table, row in origin], dtype=np.int64),
        np.array([table.split[row] for table, row in origin], dtype=np.int64),
    )
    return merged, mappings
