"""Which captured geometries may be trained on: those of molecules of the training split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import Dataset, Split
from forcegate_service.watch.capture.fingerprint import composition
from forcegate_trainer.data.molecules.exclusion import PUBLIC_TEST_MOLECULES, public_test_name
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.data.molecules.perception import perceive, unperceived
from forcegate_trainer.data.molecules.splits import split_of
from forcegate_trainer.data.molecules.structures import atomic_numbers, hydrogenated
from forcegate_trainer.errors import LabelError, MoleculeError

__all__ = ["Admission", "Identity"]


@dataclass(frozen=True)
class Identity:
    """A row of the molecule table; parts of several molecules are joined by dots.

    ``inchikey`` is empty where the bonds were not perceived.
    """

    smiles: str
    inchikey: str
    split_key: str


class Admission:
    """Decides by the hash that decides every molecule's split, with the same ``split_seed``.

    ``beside`` are datasets that the frames will be trained with or judged by. A geometry that is in
    several pieces, or whose bonds were not perceived, may be a torn molecule under another name:
    it is not let in if its composition is that of a molecule which is held out in them, or public.
    """

    def __init__(self, split_seed: int, beside: Sequence[Dataset] = ()) -> None:
        self._seed = split_seed
        self._public = {_formula(smiles) for smiles in PUBLIC_TEST_MOLECULES.values()}
        self._held_out = {
            _formula(smiles) for dataset in beside for smiles in _held_out_smiles(dataset)
        }

    def admit(self, numbers: npt.NDArray[np.int64], positions: npt.NDArray[np.float64]) -> Identity:
        """The molecule of a frame that may be trained on.

        Raises:
            LabelError: if it may not, with the reason under which it is counted.
        """
        try:
            molecules = perceive(numbers, positions)
        except MoleculeError:
            return self._unperceived(numbers, positions)
        for molecule in molecules:
            self._require_training(molecule)
        if len(molecules) > 1:
            self._require_other_composition(numbers)
        return Identity(
            ".".join(molecule.smiles for molecule in molecules),
            ".".join(molecule.inchikey for molecule in molecules),
            ".".join(molecule.split_key for molecule in molecules),
        )

    def _unperceived(
        self, numbers: npt.NDArray[np.int64], positions: npt.NDArray[np.float64]
    ) -> Identity:
        self._require_other_composition(numbers)
        try:
            found = unperceived(numbers, positions)
        except MoleculeError as error:
            raise LabelError(str(error), "captured_no_molecule") from error
        self._require_split(split_of(found.split_key, self._seed), found.smiles)
        return Identity(found.smiles, "", found.split_key)

    def _require_training(self, molecule: Molecule) -> None:
        public = public_test_name(molecule)
        if public is not None:
            raise LabelError(f"received a frame of {public}", "captured_public_molecule")
        self._require_split(molecule.split(self._seed), molecule.smiles)

    def _require_split(self, split: Split, smiles: str) -> None:
        if split != Split.TRAIN:
            name = split.name.lower()
            raise LabelError(f"received a frame of {smiles}", f"captured_{name}_molecule")

    def _require_other_composition(self, numbers: npt.NDArray[np.int64]) -> None:
        formula = composition(numbers)
        for formulas, reason in (
            (self._public, "captured_public_composition"),
            (self._held_out, "captured_held_out_composition"),
        ):
            if formula in formulas:
                raise LabelError(f"received an unclear frame of composition {formula}", reason)


@cache
def _formula(smiles: str) -> str:
    return composition(atomic_numbers(hydrogenated(smiles)))


def _held_out_smiles(dataset: Dataset) -> Iterable[str]:
    table = dataset.molecules
    return (table.smiles[row] for row in np.flatnonzero(table.split != Split.TRAIN).tolist())
