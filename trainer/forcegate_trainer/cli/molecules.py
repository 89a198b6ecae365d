"""``forcegate-train molecules``: lists of SMILES to a table of checked, split molecules."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rdkit import Chem
from rich.console import Console
from rich.status import Status

from forcegate_trainer.data.molecules.bridging import bridge
from forcegate_trainer.data.molecules.charges import is_neutral_organic
from forcegate_trainer.data.molecules.exclusion import without_public_test
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.data.molecules.ionisation import ionise
from forcegate_trainer.data.molecules.lists import (
    builtin_lists,
    parse_list,
    read_list,
    without_duplicates,
)
from forcegate_trainer.data.molecules.mutation import mutate
from forcegate_trainer.data.molecules.peptides import peptides
from forcegate_trainer.data.molecules.recombination import recombine
from forcegate_trainer.data.molecules.ring_fusion import fuse
from forcegate_trainer.data.molecules.table import write_table
from forcegate_trainer.data.molecules.unlikely import unlikely

# From the molecules that there are so far, a count, a seed, and what hears how many there are.
Maker = Callable[[list[Molecule], int, int, Callable[[int], None]], list[Molecule]]


def molecules(
    out: Annotated[Path, typer.Option(help="Table to write: .csv, or .smi with SMILES only.")],
    lists: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of 'SMILES name' lines; without any, the built-in lists."),
    ] = None,
    recombine_count: Annotated[
        int, typer.Option("--recombine", min=0, help="New molecules to make of their fragments.")
    ] = 0,
    mutate_count: Annotated[
        int, typer.Option("--mutate", min=0, help="New molecules to make by small edits of them.")
    ] = 0,
    fuse_count: Annotated[
        int, typer.Option("--fuse", min=0, help="New conjugated systems of fused rings to make.")
    ] = 0,
    bridge_count: Annotated[
        int,
        typer.Option("--bridge", min=0, help="New azo compounds, imines and stilbenes to make."),
    ] = 0,
    peptide_count: Annotated[
        int, typer.Option("--peptides", min=0, help="New peptides of two to four residues.")
    ] = 0,
    ionise_count: Annotated[
        int,
        typer.Option("--ionise", min=0, help="Ions and zwitterions of what was read and made."),
    ] = 0,
    without_charges: Annotated[
        bool,
        typer.Option(
            "--without-charges",
            help="Neutral molecules of H C N O F S Cl alone: for students without charges.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of all that is made.")] = 0,
    only_made: Annotated[
        bool, typer.Option("--only-made", help="Write what was made, without what was read.")
    ] = False,
    split_seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
) -> None:
    """Check, recombine, mutate, ionise and split molecules.

    Public test molecules are left out, and ions that hardly any flask holds.
    """
    console = Console(stderr=True)
    listed: list[Molecule] = []
    for path in lists or []:
        listed += read_list(path)
    if not lists:
        for name, text in builtin_lists().items():
            listed += parse_list(text, f"built-in list {name}")
    unique = without_duplicates(listed)
    kept = without_public_test(unique)
    left_out = len(unique) - len(kept)
    if without_charges:
        kept = [molecule for molecule in kept if is_neutral_organic(molecule)]
    wishes: tuple[tuple[str, int, Maker], ...] = (
        ("recombined", recombine_count, recombine),
        ("fused", fuse_count, lambda there, *wish: fuse(_keys(there), *wish)),
        ("bridged", bridge_count, lambda there, *wish: bridge(_keys(there), *wish)),
        ("peptides", peptide_count, lambda there, *wish: peptides(_keys(there), *wish)),
        ("mutated", mutate_count, lambda there, *wish: mutate(there, set(), *wish)),
        ("ions", ionise_count, lambda there, *wish: ionise(there, set(), *wish)),
    )
    made: list[Molecule] = []
    for kind, count, make in wishes:
        if count:
            with console.status(kind) as status:
                made += make(kept + made, count, seed, _counting(status, kind, count))
    kept = made if only_made else kept + made
    kept = [molecule for molecule in kept if unlikely(Chem.MolFromSmiles(molecule.smiles)) is None]
    if without_charges:
        kept = [molecule for molecule in kept if is_neutral_organic(molecule)]
    write_table(out, kept, split_seed)
    splits = Counter(molecule.split(split_seed).name.lower() for molecule in kept)
    console.print(
        f"{len(listed)} read, {len(listed) - len(unique)} duplicates, "
        f"{left_out} public test molecules left out, "
        + "".join(f"{count} {kind}, " for kind, count, _ in wishes if count)
        + f"{len(kept)} written to {out}: "
        + ", ".join(f"{count} {name}" for name, count in sorted(splits.items()))
    )


def _keys(molecules: list[Molecule]) -> set[str]:
    return {molecule.split_key for molecule in molecules}


def _counting(status: Status, kind: str, count: int) -> Callable[[int], None]:
    return lambda found: status.update(f"{kind}: {found} of {count}")
