"""``forcegate-train merge``: several labelled files to one, as data are published."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rdkit import Chem, rdBase
from rich.console import Console

from forcegate_client.dataset import Dataset, concatenate, load_dataset
from forcegate_client.dataset.schema import COARSE_FORCE_STEPS
from forcegate_client.dataset.store import write_dataset
from forcegate_trainer.cli.report import describe
from forcegate_trainer.data.molecules.held_out import trained_when_common
from forcegate_trainer.data.molecules.unlikely import unlikely
from forcegate_trainer.errors import SettingsError


def merge(
    datasets: Annotated[list[Path], typer.Argument(help="Files with labels of one teacher.")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write; it must not exist.")],
    round_forces: Annotated[
        bool,
        typer.Option(
            "--round-forces",
            help="To 1e-3 eV/Å and charges to 1e-3 e, far below what the members of an ensemble "
            "differ by: a file a fifth smaller.",
        ),
    ] = False,
    likely_only: Annotated[
        bool,
        typer.Option(
            "--likely-only",
            help="Drop and count frames with ions that `molecules` makes no more.",
        ),
    ] = False,
    most: Annotated[
        int | None,
        typer.Option(min=1, help="Keep so many frames at most, drawn at random: a file's size."),
    ] = None,
) -> None:
    """Put datasets together; the settings that made each are kept."""
    if out.exists():
        raise SettingsError(
            f"received --out {out}, which exists; published data are never rewritten: expected a "
            "new name"
        )
    parts = [trained_when_common(load_dataset(path)) for path in datasets]
    whole = concatenate(parts)
    if likely_only:
        whole = _without_unlikely(whole)
    if most is not None and most < len(whole):
        whole = _part(whole, most)
    if round_forces:
        whole = _rounded(whole)
    whole = replace(
        whole,
        job={
            "command": "merge",
            "inputs": [
                {"content": part.content_hash(), "seed": part.seed, "job": dict(part.job)}
                for part in parts
            ],
        },
    )
    write_dataset(out, whole)
    describe(whole, out, Console(stderr=True))


def _without_unlikely(dataset: Dataset) -> Dataset:
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(smiles) for smiles in dataset.molecules.smiles]
    # Frames of one's own may have names that are no SMILES.
    likely = [molecule is None or unlikely(molecule) is None for molecule in molecules]
    kept = np.array(likely)[dataset.molecule_id]
    dropped = Counter(dataset.dropped)
    dropped["unlikely_ion"] += int(np.count_nonzero(~kept))
    return replace(dataset.select(np.flatnonzero(kept)), dropped=dict(+dropped))


def _part(dataset: Dataset, most: int) -> Dataset:
    drawn = np.sort(np.random.default_rng(0).permutation(len(dataset))[:most])
    dropped = Counter(dataset.dropped)
    dropped["not_drawn"] += len(dataset) - most
    return replace(dataset.select(drawn), dropped=dict(dropped))


def _rounded(dataset: Dataset) -> Dataset:
    assert dataset.forces is not None  # files without labels are refused above
    charges = dataset.charges
    return replace(
        dataset,
        forces=np.rint(dataset.forces * COARSE_FORCE_STEPS) / COARSE_FORCE_STEPS,
        charges=None if charges is None else np.rint(charges * 1000) / 1000,
    )
