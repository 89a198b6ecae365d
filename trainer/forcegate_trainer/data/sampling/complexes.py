"""Contacts and clusters into a file: several processes, resumable."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers
from rich.console import Console

from forcegate_client.dataset import (
    NOT_THERMAL,
    Dataset,
    Frame,
    MoleculeTable,
    Source,
    Split,
    from_frames,
)
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.data.molecules.structures import atomic_numbers, conformers, hydrogenated
from forcegate_trainer.data.resumable import run_in_pieces
from forcegate_trainer.data.sampling import langevin
from forcegate_trainer.data.sampling.clusters import (
    Cluster,
    choose_clusters,
    farthest_member,
    grow,
)
from forcegate_trainer.data.sampling.contacts import CONTACTS, Approach, approach
from forcegate_trainer.data.sampling.forces import mmff_forces
from forcegate_trainer.data.sampling.frames import MAX_SEED, Sampled, thermal
from forcegate_trainer.data.sampling.langevin import TrajectoryBlewUpError
from forcegate_trainer.data.sampling.partners import ContactPair, choose_contacts
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.data.sampling.settings import ComplexSettings
from forcegate_trainer.errors import MoleculeError

__all__ = ["sample_complexes"]

Float = NDArray[np.float64]

ITEMS_OF_A_PIECE = 16
TEMPERATURE = 300.0  # K
THERMAL_SHARE = 0.6
MOST_APPROACHES = 20
# Of so many approaches that are possible the one is taken whose sites come closest.
BEST_OF = 3
# Of 1 fs, before each of a cluster's thermal frames.
CLUSTER_STEPS = (60, 240)
# Å from the closest atom of another member: who is beyond it is in the cluster no longer.
LEFT = 4.0


@dataclass(frozen=True)
class ComplexTask:
    """Pairs and clusters for one worker."""

    items: tuple[ContactPair | Cluster, ...]
    settings: ComplexSettings


def sample_complexes(
    molecules: Sequence[Molecule],
    out: str | Path,
    settings: ComplexSettings,
    *,
    workers: int,
    console: Console | None = None,
) -> Dataset:
    """Make contacts and clusters of the molecules of the wanted splits, and write ``out``.

    Stopped and called again, it continues.

    Raises:
        MoleculeError: if there are no molecules to make any of.
        DatasetMismatchError: if ``out`` was begun with other molecules or settings.
    """
    splits = [Split[name.upper()] for name in settings.splits]
    chosen = [m for m in molecules if m.split(settings.split_seed) in splits]
    listed = hashlib.sha256("\n".join(m.smiles for m in chosen).encode()).hexdigest()
    rng = generator(settings.seed, "complexes", listed)
    items: list[ContactPair | Cluster] = []
    if chosen:
        items += choose_contacts(chosen, settings.pairs, settings.split_seed, rng)
        items += choose_clusters(chosen, settings.clusters, settings.split_seed, rng)
    if not items:
        raise MoleculeError(
            f"received {len(molecules)} molecules, {len(chosen)} of them in "
            f"{', '.join(settings.splits)}, which make no pair and no cluster; give more small "
            "molecules, water among them, or other splits"
        )
    pieces = [
        ComplexTask(tuple(items[begin : begin + ITEMS_OF_A_PIECE]), settings)
        for begin in range(0, len(items), ITEMS_OF_A_PIECE)
    ]
    return run_in_pieces(
        out,
        {"command": "contacts", "molecules": listed, **asdict(settings)},
        pieces,
        make_complexes,
        workers=workers,
        title=f"{len(items)} contacts and clusters",
        seed=settings.seed,
        console=console,
    )


def make_complexes(task: ComplexTask) -> Dataset:
    """The frames of a task's pairs and clusters, quantised."""
    frames: list[Frame] = []
    dropped: Counter[str] = Counter()
    for row, item in enumerate(task.items):
        rng = generator(task.settings.seed, type(item).__name__, item.smiles, str(item.number))
        sampled = _contact(item, rng) if isinstance(item, ContactPair) else _cluster(item, rng)
        frames += [replace(frame, molecule_id=row) for frame in sampled.frames]
        dropped += sampled.dropped
    members = [_members(item) for item in task.items]
    table = MoleculeTable.closed_shell(
        [item.smiles for item in task.items],
        [".".join(m.inchikey for m in group) for group in members],
        [".".join(m.split_key for m in group) for group in members],
        [group[0].split(task.settings.split_seed) for group in members],
        [sum(m.charge for m in group) for group in members],
    )
    return from_frames(frames, table, dropped=dict(dropped))


def _members(item: ContactPair | Cluster) -> tuple[Molecule, ...]:
    return (item.first, item.second) if isinstance(item, ContactPair) else item.members


def _contact(pair: ContactPair, rng: np.random.Generator) -> Sampled:
    """One orientation of two rigid molecules at several distances."""
    sampled = Sampled()
    mols = hydrogenated(pair.first.smiles), hydrogenated(pair.second.smiles)
    try:
        alone = _alone(mols, rng)
    except (MoleculeError, TrajectoryBlewUpError):
        sampled.dropped["no_geometry_of_a_part"] += 1
        return sampled
    found: list[Approach] = []
    for _ in range(MOST_APPROACHES):
        one = approach(mols, (alone[0], alone[1]), CONTACTS[pair.kind], rng)
        found += [one] if one is not None else []
        if len(found) == BEST_OF:
            break
    if not found:
        sampled.dropped["no_contact"] += 1
        return sampled
    best = min(found, key=lambda one: one.between_sites)
    numbers, fragment = _numbered(mols)
    charged = bool(pair.first.charge or pair.second.charge)
    for distance in best.distances(charged, rng):
        sampled.frames.append(
            Frame(numbers, best.at(distance), 0, Source.CONTACT, NOT_THERMAL, fragment)
        )
    return sampled


def _cluster(cluster: Cluster, rng: np.random.Generator) -> Sampled:
    """One cluster as it was put together, and after it has had time to settle."""
    sampled = Sampled()
    mols = [hydrogenated(member.smiles) for member in cluster.members]
    try:
        positions = grow(mols, _alone(mols, rng), rng)
    except (MoleculeError, TrajectoryBlewUpError):
        sampled.dropped["no_geometry_of_a_part"] += 1
        return sampled
    if positions is None:
        sampled.dropped["no_room_in_cluster"] += 1
        return sampled
    numbers, fragment = _numbered(mols)
    sampled.frames.append(Frame(numbers, positions, 0, Source.CLUSTER, NOT_THERMAL, fragment))
    whole = hydrogenated(cluster.smiles)
    # UFF has no charges: under it the clusters of ions fly apart.
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(whole):
        sampled.dropped["no_mmff_for_cluster"] += len(CLUSTER_STEPS)
        return sampled
    try:
        forces = mmff_forces(whole, positions)
        state = langevin.start(numbers, positions, TEMPERATURE, rng)
        for steps in CLUSTER_STEPS:
            state = langevin.run(state, forces, TEMPERATURE, steps, rng)
            if farthest_member(state.positions, fragment) > LEFT:
                sampled.dropped["member_left_cluster"] += 1
                break
            sampled.frames.append(
                Frame(numbers, state.positions, 0, Source.CLUSTER, TEMPERATURE, fragment)
            )
    except TrajectoryBlewUpError:
        sampled.dropped["trajectory_blew_up"] += 1
    return sampled


def _alone(mols: Sequence[Chem.Mol], rng: np.random.Generator) -> list[Float]:
    """A geometry of each molecule by itself, relaxed or at 300 K."""
    warm = rng.random() < THERMAL_SHARE
    found = []
    for mol in mols:
        if mol.GetNumAtoms() == 1:
            found.append(np.zeros((1, 3)))
            continue
        relaxed = conformers(mol, 1, int(rng.integers(MAX_SEED)))[0]
        found.append(thermal(mol, relaxed, TEMPERATURE, rng) if warm else relaxed)
    return found


def _numbered(mols: Sequence[Chem.Mol]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Atomic numbers of all, and which molecule each atom belongs to."""
    sizes = [mol.GetNumAtoms() for mol in mols]
    return (
        np.concatenate([atomic_numbers(mol) for mol in mols]),
        np.repeat(np.arange(len(mols)), sizes),
    )
