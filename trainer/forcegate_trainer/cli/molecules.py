"""``forcegate-train molecules``: lists of SMILES to a table of checked, split molecules."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.molecules.exclusion import without_public_test
from forcegate_trainer.molecules.identity import Molecule
from forcegate_trainer.molecules.lists import (
    builtin_lists,
    parse_list,
    read_list,
    without_duplicates,
)
from forcegate_trainer.molecules.mutation import mutate
from forcegate_trainer.molecules.recombination import recombine
from forcegate_trainer.molecules.table import write_table


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
    seed: Annotated[int, typer.Option(help="Seed of both.")] = 0,
    split_seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
) -> None:
    """Check, recombine, mutate and split molecules; the public test molecules are left out."""
    console = Console(stderr=True)
    listed: list[Molecule] = []
    for path in lists or []:
        listed += read_list(path)
    if not lists:
        for name, text in builtin_lists().items():
            listed += parse_list(text, f"built-in list {name}")
    unique = without_duplicates(listed)
    kept = without_public_test(unique)
    made: list[Molecule] = []
    if recombine_count:
        with console.status("recombining") as status:
            made += recombine(
                kept,
                recombine_count,
                seed,
                lambda found: status.update(f"recombining: {found} of {recombine_count}"),
            )
    if mutate_count:
        with console.status("mutating") as status:
            made += mutate(
                kept,
                {molecule.split_key for molecule in made},
                mutate_count,
                seed,
                lambda found: status.update(f"mutating: {found} of {mutate_count}"),
            )
    left_out = len(unique) - len(kept)
    kept += made
    write_table(out, kept, split_seed)
    splits = Counter(molecule.split(split_seed).name.lower() for molecule in kept)
    console.print(
        f"{len(listed)} read, {len(listed) - len(unique)} duplicates, "
        f"{left_out} public test molecules left out, {recombine_count} recombined, "
        f"{mutate_count} mutated; {len(kept)} written to {out}: "
        + ", ".join(f"{count} {name}" for name, count in sorted(splits.items()))
    )
