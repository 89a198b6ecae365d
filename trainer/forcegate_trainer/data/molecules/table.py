"""The molecule table that ``molecules`` writes and ``sample`` reads: CSV, one molecule a line."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rdkit import Chem

from forcegate_client.dataset import Split
from forcegate_trainer.data.molecules.exclusion import public_test_name
from forcegate_trainer.data.molecules.identity import Molecule, parse
from forcegate_trainer.data.molecules.lists import read_list
from forcegate_trainer.errors import MoleculeError

COLUMNS = ("smiles", "name", "inchikey", "split_key", "heavy_atoms", "charge", "split")


def write_table(path: str | Path, molecules: Sequence[Molecule], split_seed: int) -> None:
    """Write ``.csv`` with identities and splits, or ``.smi`` with SMILES and names alone.

    Raises:
        MoleculeError: if the name of the file ends otherwise.
    """
    path = Path(path)
    buffer = io.StringIO()
    if path.suffix == ".smi":
        buffer.writelines(f"{m.smiles} {m.name}\n" for m in molecules)
    elif path.suffix == ".csv":
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        for m in molecules:
            split = m.split(split_seed).name.lower()
            writer.writerow(
                [m.smiles, m.name, m.inchikey, m.split_key, m.heavy_atoms, m.charge, split]
            )
    else:
        raise MoleculeError(f"received {path}; expected a name that ends in .csv or .smi")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(buffer.getvalue(), encoding="utf-8")
    temporary.replace(path)


def read_table(path: str | Path, split_seed: int) -> list[Molecule]:
    """The molecules of a ``.csv`` table or a ``.smi`` list; the public test molecules are refused.

    Identities in a table are taken as written (computing them takes a minute for thousands of
    molecules), but its splits must be those of ``split_seed``.

    Raises:
        MoleculeError: for the first unusable line, with its number.
    """
    path = Path(path)
    if path.suffix != ".csv":
        molecules = read_list(path)
        for molecule in molecules:
            _refuse_public_test(molecule, str(path))
        return molecules
    if not path.is_file():
        raise MoleculeError(
            f"received {path}, where no file is; expected a table: run `forcegate-train molecules "
            f"--out {path}`"
        )
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = tuple(next(rows, ()))
        if header != COLUMNS:
            raise MoleculeError(f"{path}: received columns {header}; expected {COLUMNS}")
        return [_from_row(row, f"{path}, line {rows.line_num}", split_seed) for row in rows]


def _from_row(row: Sequence[str], where: str, split_seed: int) -> Molecule:
    if len(row) != len(COLUMNS):
        raise MoleculeError(f"{where}: received {len(row)} columns; expected {len(COLUMNS)}")
    smiles, name, inchikey, split_key, _, _, split = row
    try:
        mol = parse(smiles)
    except MoleculeError as error:
        raise MoleculeError(f"{where}: {error}") from error
    # Sizes and charges are what the SMILES says, whatever stands beside it.
    heavy_atoms, charge = mol.GetNumHeavyAtoms(), Chem.GetFormalCharge(mol)
    molecule = Molecule(smiles, name, inchikey, split_key, heavy_atoms, charge)
    expected = molecule.split(split_seed)
    if split != expected.name.lower():
        raise MoleculeError(
            f"{where}: received split {split!r}; with --split-seed {split_seed} it is "
            f"{expected.name.lower()!r}: use the seed that the table was made with"
        )
    _refuse_public_test(molecule, where)
    return molecule


def _refuse_public_test(molecule: Molecule, where: str) -> None:
    name = public_test_name(molecule)
    if name is not None:
        raise MoleculeError(
            f"{where}: received {molecule.smiles}, which is {name}, a public test molecule that "
            "must stay out of training; make the list with `forcegate-train molecules`, which "
            "leaves it out"
        )


def only(molecules: Sequence[Molecule], splits: Sequence[Split], seed: int) -> list[Molecule]:
    """The molecules that belong to these splits."""
    return [molecule for molecule in molecules if molecule.split(seed) in splits]
