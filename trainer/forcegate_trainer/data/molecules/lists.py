"""Lists of molecules as text: ``SMILES name`` a line, ``#`` starts a comment line."""

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from rdkit import Chem

from forcegate_trainer.data.molecules.charges import ChargeClass, charge_class
from forcegate_trainer.data.molecules.identity import Molecule, identify
from forcegate_trainer.errors import MoleculeError


def builtin_lists() -> dict[str, str]:
    """The lists that come with the package: name and text."""
    folder = files("forcegate_trainer.data.molecules") / "smiles"
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".smi")]
    return {
        entry.name.removesuffix(".smi"): entry.read_text(encoding="utf-8")
        for entry in sorted(found, key=lambda entry: entry.name)
    }


def read_list(path: str | Path) -> list[Molecule]:
    """The molecules of a ``.smi`` file.

    Raises:
        MoleculeError: if the file is absent, or for the first unusable line, with its number.
    """
    path = Path(path)
    if not path.is_file():
        raise MoleculeError(
            f"received {path}, where no file is; expected a list of 'SMILES name' lines: check the "
            "path, or let `forcegate-train molecules` make molecules"
        )
    return parse_list(path.read_text(encoding="utf-8"), str(path))


def parse_list(text: str, origin: str) -> list[Molecule]:
    """The molecules of a list's text; ``origin`` names it in errors."""
    molecules = []
    for number, line in enumerate(text.splitlines(), start=1):
        smiles, *name = line.split(maxsplit=1)[:2] or [""]
        if not smiles or smiles.startswith("#"):
            continue
        try:
            molecules.append(identify(smiles, "".join(name).strip()))
        except MoleculeError as error:
            raise MoleculeError(f"{origin}, line {number}: {error}") from error
    return molecules


def without_duplicates(molecules: Iterable[Molecule]) -> list[Molecule]:
    """The first of all that share an InChIKey and a charge class, in order.

    Tautomers that InChI tells apart, stereoisomers, and a molecule and its zwitterion, which InChI
    does not tell apart, stay: they are different geometries, and their common split key keeps them
    in one split.
    """
    first: dict[tuple[str, ChargeClass], Molecule] = {}
    for molecule in molecules:
        kind = charge_class(Chem.MolFromSmiles(molecule.smiles))
        first.setdefault((molecule.inchikey, kind), molecule)
    return list(first.values())
