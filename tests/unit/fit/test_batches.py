"""Graphs are found once and shared out fairly, and nothing of the training notices."""

import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111, molecule

from forcegate_client.dataset import Dataset, MoleculeTable, Split, TeacherRecord
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.graph import build_graph
from forcegate_trainer.fit.batch import FrameBatch, frame_batch, shares
from forcegate_trainer.fit.batch_source import BatchesAhead
from forcegate_trainer.fit.graphs import FrameGraphs
from forcegate_trainer.fit.loss import errors
from forcegate_trainer.network.config import PRESETS
from forcegate_trainer.network.potential import Potential

CUTOFF = 5.0


def _dataset() -> Dataset:
    """Molecules, crystals, a slab and a lone atom, with numbers that stand in for labels."""
    rng = np.random.default_rng(0)
    slab = fcc111("Al", (2, 2, 2), vacuum=None, periodic=False)
    slab.pbc = (True, True, False)
    structures = [
        molecule("CH3CH2OH"),
        bulk("Cu", cubic=True),
        molecule("C60"),
        slab,
        molecule("O"),
        molecule("CH4"),
        bulk("Si"),
        molecule("H2O"),
    ]
    for atoms in structures:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    batch = StructureBatch.from_atoms(structures)
    frames, atoms_in_all = len(batch), batch.total_atoms
    names = [str(row) for row in range(frames)]
    return Dataset(
        n_atoms=batch.n_atoms,
        atomic_numbers=batch.atomic_numbers,
        positions=batch.positions,
        cells=batch.cells,
        pbc=batch.pbc,
        molecule_id=np.arange(frames),
        source=np.zeros(frames, dtype=np.int64),
        temperature=np.full(frames, 300.0),
        flags=np.zeros(frames, dtype=np.int64),
        fragment=np.zeros(atoms_in_all, dtype=np.int64),
        molecules=MoleculeTable.closed_shell(names, names, names, [Split.TRAIN] * frames),
        energies=rng.normal(size=frames),
        forces=rng.normal(size=(atoms_in_all, 3)),
        teacher=TeacherRecord("nobody", "0"),
    )


@pytest.mark.parametrize(
    "frames",
    [[0], [4], [1], [7, 3, 0, 1], [5, 5, 2], [6, 4, 3, 2, 1, 0], []],
    ids=lambda frames: ",".join(map(str, frames)) or "none",
)
def test_graphs_found_before_are_those_found_afresh(frames: list[int]) -> None:
    dataset = _dataset()
    graphs = FrameGraphs.build(dataset, CUTOFF)
    chosen = np.array(frames, dtype=np.int64)
    expected = build_graph(graphs.structures.select(chosen), CUTOFF)
    for found, wanted in zip(graphs.select(chosen).arrays(), expected.arrays(), strict=True):
        assert found.dtype == wanted.dtype
        assert found.flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(found, wanted)
    assert graphs.n_edges[chosen].sum() == expected.n_edges


def test_graphs_of_many_chunks_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = _dataset()
    whole = FrameGraphs.build(dataset, CUTOFF)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("forcegate_trainer.fit.graphs._CHUNK", 3)
    pieces = FrameGraphs.build(dataset, CUTOFF, lambda title, done, of: told.append((done, of)))
    everything = np.arange(len(dataset))
    for one, other in zip(
        whole.select(everything).arrays(), pieces.select(everything).arrays(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert told == [(3, 8), (6, 8), (8, 8)]


def test_an_edge_between_molecules_takes_about_a_byte() -> None:
    dataset = _dataset()
    molecules = dataset.select(np.flatnonzero(~dataset.pbc.any(1)))
    graphs = FrameGraphs.build(molecules, CUTOFF)
    per_atom, per_frame = 2, 3 * 8
    limit = graphs.n_edges.sum() + per_atom * len(molecules.positions)
    assert graphs.nbytes <= limit + per_frame * (len(molecules) + 1)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_every_frame_of_a_batch_goes_to_one_worker_and_none_waits_long(workers: int) -> None:
    rng = np.random.default_rng(workers)
    for _ in range(50):
        frames = rng.permutation(1000)[: 2 * workers]
        n_edges = rng.integers(0, 600, size=len(frames))
        parts = shares(frames, n_edges, workers)
        assert sorted(np.concatenate(parts)) == sorted(frames)
        assert all(len(part) for part in parts)
        size = dict(zip(frames.tolist(), n_edges.tolist(), strict=True))
        loads = [sum(size[frame] for frame in part.tolist()) for part in parts]
        assert max(loads) - min(loads) <= n_edges.max() + len(frames)


def test_frames_without_edges_leave_no_worker_without_frames() -> None:
    parts = shares(np.arange(4), np.zeros(4, dtype=np.int64), 2)
    assert sorted(map(len, parts)) == [2, 2]


def test_losses_and_gradients_of_shares_add_up_to_those_of_the_batch() -> None:
    torch.manual_seed(0)
    dataset = _dataset()
    molecules = dataset.select(np.array([0, 5, 7]))
    model = Potential(PRESETS["painn_ultra_tiny"]).double()
    graphs = FrameGraphs.build(molecules, CUTOFF)
    whole = np.arange(3)
    found = []
    for parts in ([whole], [whole[:1], whole[1:]]):
        model.zero_grad()
        total = 0.0
        for part in parts:
            batch = frame_batch(molecules, graphs, part, whole)
            terms = errors(model, batch.inputs, batch.energies, batch.forces, batch.whole)
            value = terms[0] + 5.0 * terms[1]
            value.backward()
            total += value.item()
        gradient = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
        found.append((total, gradient))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-12)
    assert torch.allclose(found[1][1], found[0][1], rtol=1e-9, atol=1e-12)


def test_batches_made_ahead_are_those_that_were_asked_for() -> None:
    dataset = _dataset()
    graphs = FrameGraphs.build(dataset, CUTOFF)
    made: list[int] = []

    def make(step: int) -> FrameBatch:
        made.append(step)
        if step == 6:
            raise ValueError("no batch 6")
        return frame_batch(dataset, graphs, np.array([step % len(dataset), 1]))

    ahead = BatchesAhead(make, torch.device("cpu"))
    try:
        # One that goes on, one that begins anew elsewhere, as a run that is resumed.
        for step in (0, 1, 2, 4, 5):
            wanted, found = make(step), ahead.batch(step)
            for one, other in zip(wanted.inputs, found.inputs, strict=True):
                assert torch.equal(one, other)
            assert torch.equal(wanted.energies, found.energies)
        with pytest.raises(ValueError, match="no batch 6"):
            ahead.batch(6)
    finally:
        ahead.close()
    # Each was begun while the one before was computed, and once; 3 was begun and not wanted.
    assert sorted(step for step in made if step < 7) == [0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6]
