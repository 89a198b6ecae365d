"""Batches and losses of students with charges.

Beside energies and forces they learn the teacher's atomic charges, the net charge of every molecule
of a complex, and what its parts gain by being together: a complex is in the batch a second time
with its parts apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from forcegate_client.checks.charges import MOST_MISSING
from forcegate_client.dataset import Dataset
from forcegate_client.structures import segments
from forcegate_service.contract.neighbors.pairs import PairList, find_pairs
from forcegate_trainer.fit.batch import ChargeTargets, FrameBatch
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.fit.loss import energy_errors, mean_norm, robust
from forcegate_trainer.network.charged_potential import ChargedPotential

__all__ = ["charged_batch", "charged_errors"]

Int = npt.NDArray[np.int64]

# e: a net charge counts by its square. All atoms of a molecule pull it the same way, so that as an
# absolute error, however small, it drowned the forces.
_NET_CHARGE_KNEE = 1.0
# eV: what a complex gains is a difference of two energies of all its atoms, and its slope ten times
# as long as that of all forces of the batch.
_INTERACTION_KNEE = 0.3
# e and eV: beyond it errors count by their logarithm.
_LARGEST = 1.0


def charged_batch(
    dataset: Dataset, graphs: FrameGraphs, frames: Int, whole: Int | None = None
) -> FrameBatch:
    """Graphs with pairs, and labels, of ``frames`` [B]: all of a batch, or a share of ``whole``."""
    assert dataset.energies is not None  # whoever loads frames for training has checked
    assert dataset.forces is not None
    batch = frames if whole is None else whole
    together = np.arange(len(frames))
    complexes = together[:0]
    if dataset.separated_energies is not None:
        complexes = np.flatnonzero(np.isfinite(dataset.separated_energies[frames]))
    rows = np.concatenate([frames, frames[complexes]])
    atoms = segments(dataset.offsets[rows], dataset.n_atoms[rows])
    n_atoms = int(dataset.n_atoms[frames].sum())
    part = dataset.fragment[atoms]
    targets = _targets(dataset, frames, complexes, batch)
    return FrameBatch(
        inputs=_inputs(graphs, rows, part, n_atoms),
        energies=torch.from_numpy(dataset.energies[frames]),
        forces=torch.from_numpy(dataset.forces[atoms[:n_atoms]]),
        whole=torch.tensor([int(dataset.n_atoms[batch].sum()), len(batch)], dtype=torch.float64),
        charges=targets,
    )


def _inputs(graphs: FrameGraphs, rows: Int, part: Int, n_together: int) -> tuple[Tensor, ...]:
    """What the model takes; from atom ``n_together`` on nothing joins two parts."""
    graph = graphs.select(rows)
    pairs = find_pairs(graphs.structures.select(rows))
    edges = graph.edge_index
    joined = (edges[0] < n_together) | (part[edges[0]] == part[edges[1]])
    first, second = pairs.index
    paired = (first < n_together) | (part[first] == part[second])
    edge_shift = graph.edge_shift
    if not joined.all():
        edges, edge_shift = np.ascontiguousarray(edges[:, joined]), edge_shift[joined]
    if not paired.all():
        index = np.ascontiguousarray(pairs.index[:, paired])
        pairs = PairList(index, pairs.shift[paired], pairs.cutoff)
    whole = replace(graph, edge_index=edges, edge_shift=edge_shift, pairs=pairs)
    # Pairs of one structure are shared by all who ask, and torch knows no read-only memory.
    return tuple(torch.from_numpy(np.require(array, None, ["C", "W"])) for array in whole.arrays())


def _targets(dataset: Dataset, frames: Int, complexes: Int, batch: Int) -> ChargeTargets:
    assert dataset.energies is not None
    atoms = segments(dataset.offsets[frames], dataset.n_atoms[frames])
    structure = np.repeat(np.arange(len(frames)), dataset.n_atoms[frames])
    part = dataset.fragment[atoms]
    # Molecules are numbered through all frames: parts of a frame are numbered from 0.
    _, molecule = np.unique(np.stack([structure, part]), axis=1, return_inverse=True)
    known = np.full(len(atoms), np.nan) if dataset.charges is None else dataset.charges[atoms]
    sums = np.bincount(molecule, weights=known)
    interaction = np.empty(0)
    if len(complexes):
        assert dataset.separated_energies is not None
        chosen = frames[complexes]
        interaction = dataset.energies[chosen] - dataset.separated_energies[chosen]
    n_batch = int(dataset.n_atoms[batch].sum())
    return ChargeTargets(
        charges=torch.from_numpy(known),
        molecule=torch.from_numpy(molecule.astype(np.int64)),
        # The teacher leaks some hundredths between parts; their formal charges are whole.
        net_charge=torch.from_numpy(np.rint(sums)),
        complex=torch.from_numpy(complexes.astype(np.int64)),
        interaction=torch.from_numpy(interaction),
        counts=torch.tensor([n_batch, len(batch), len(batch)], dtype=torch.float64),
    )


def charged_errors(
    model: ChargedPotential,
    inputs: tuple[Tensor, ...],
    energies: Tensor,
    forces: Tensor,
    whole: Tensor,
    targets: ChargeTargets,
) -> Tensor:
    """Errors of forces and energies as without charges, of charges, net charges, interactions [5].

    Mean robust error of a charge in e, of the net charge of a molecule in e for each frame, and of
    the interaction energy in eV for each frame; what is not known has no error. Nor has the energy
    of a frame in which the charges of a molecule miss its net charge so far that the server refuses
    it: in a long dye the charge is spread out further than a student sees, and whatever it learned
    of such energies, 5 eV off and never nearer, it would lose elsewhere.
    """
    predicted, predicted_forces, _, charges, _, _ = model.evaluate(*inputs)
    n_frames, n_atoms = energies.shape[0], forces.shape[0]
    own = charges[:n_atoms]
    charge_error = robust(torch.nan_to_num(own - targets.charges, nan=0.0), _LARGEST).sum()
    sums = torch.zeros_like(targets.net_charge).index_add(0, targets.molecule, own)
    missed = torch.nan_to_num(sums - targets.net_charge, nan=0.0)
    net_error = robust(missed, _LARGEST, _NET_CHARGE_KNEE).sum()
    refused = (missed.detach().abs() > MOST_MISSING).double().index_select(0, targets.molecule)
    answered = torch.zeros_like(energies).index_add(0, inputs[4][:n_atoms], refused) == 0.0
    energy_error = energy_errors(predicted[:n_frames] - energies, inputs[5][:n_frames])
    gained = predicted.index_select(0, targets.complex) - predicted[n_frames:]
    gain_error = robust(gained - targets.interaction, _LARGEST, _INTERACTION_KNEE)
    gain_error = gain_error * answered.index_select(0, targets.complex)
    return torch.stack([
        mean_norm(predicted_forces[:n_atoms] - forces, whole[0]),
        (energy_error * answered).sum() / whole[1],
        charge_error / targets.counts[0],
        net_error / targets.counts[1],
        gain_error.sum() / targets.counts[2],
    ])  # fmt: skip
