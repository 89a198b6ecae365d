"""Neighbour lists of a whole dataset, built once and stored compactly."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from forcegate_client.dataset import Dataset
from forcegate_client.structures import StructureBatch, segments
from forcegate_service.contract.graph import Graph, build_graph
from forcegate_trainer.data.datasets import structures_of
from forcegate_trainer.progress import Tell, tell_nobody

__all__ = ["FrameGraphs"]

Int = npt.NDArray[np.int64]
Unsigned = npt.NDArray[np.unsignedinteger]
Float = npt.NDArray[np.float64]

# Frames whose full graphs are in memory at once while the compact ones are made.
_CHUNK = 512


@dataclass(frozen=True)
class FrameGraphs:
    """The graphs of F frames with N atoms and E directed edges in all.

    Edges are sorted by center, then neighbor, so the centers follow from ``degrees`` [N], how
    many neighbors each atom has. ``neighbors`` [E] counts within the frame: one byte an edge for
    frames of up to 256 atoms. ``edge_offsets`` [F + 1]. ``shifts`` in Å has rows for the edges of
    periodic frames only, those of frame f are ``shift_offsets[f]:shift_offsets[f + 1]``.
    """

    structures: StructureBatch
    atom_offsets: Int
    edge_offsets: Int
    shift_offsets: Int
    degrees: Unsigned
    neighbors: Unsigned
    shifts: Float

    @classmethod
    def build(cls, dataset: Dataset, cutoff: float, tell: Tell = tell_nobody) -> FrameGraphs:
        """Find the neighbors within ``cutoff`` Å of every atom of ``dataset``."""
        structures = structures_of(dataset)
        n_frames, offsets = len(structures), structures.offsets
        narrow = np.min_scalar_type(max(1, int(structures.n_atoms.max(initial=1)) - 1))
        degrees, neighbors, shifts = [], [], []
        n_edges = np.zeros(n_frames, dtype=np.int64)
        for start in range(0, n_frames, _CHUNK):
            chosen = np.arange(start, min(start + _CHUNK, n_frames))
            graph = build_graph(structures.select(chosen), cutoff)
            center, neighbor = graph.edge_index
            frame = start + graph.structure_index[center]
            degrees.append(np.bincount(center, minlength=len(graph.positions)))
            neighbors.append((neighbor + offsets[start] - offsets[frame]).astype(narrow))
            shifts.append(graph.edge_shift[structures.pbc[frame].any(1)])
            n_edges += np.bincount(frame, minlength=n_frames)
            tell("building graphs", int(chosen[-1]) + 1, n_frames)
        degree = np.concatenate([np.zeros(0, dtype=np.int64), *degrees])
        return cls(
            structures=structures,
            atom_offsets=offsets,
            edge_offsets=_offsets(n_edges),
            shift_offsets=_offsets(np.where(structures.pbc.any(1), n_edges, 0)),
            degrees=degree.astype(np.min_scalar_type(int(degree.max(initial=0)))),
            neighbors=np.concatenate([np.zeros(0, dtype=narrow), *neighbors]),
            shifts=np.concatenate([np.zeros((0, 3)), *shifts]),
        )

    @property
    def n_edges(self) -> Int:
        """[F]; directed edges of each frame."""
        return np.diff(self.edge_offsets)

    @property
    def nbytes(self) -> int:
        """Memory beyond the structures themselves."""
        arrays = [getattr(self, field.name) for field in fields(self) if field.name != "structures"]
        return sum(array.nbytes for array in arrays)

    def select(self, frames: Int) -> Graph:
        """What ``build_graph`` gives for ``frames`` [B], without a search."""
        batch = self.structures.select(frames)
        counts = self.edge_offsets[frames + 1] - self.edge_offsets[frames]
        edges = segments(self.edge_offsets[frames], counts)
        atoms = segments(self.atom_offsets[frames], batch.n_atoms)
        edge_index = np.empty((2, len(edges)), dtype=np.int64)
        edge_index[0] = np.repeat(np.arange(len(atoms)), self.degrees[atoms])
        edge_index[1] = self.neighbors[edges] + np.repeat(batch.offsets[:-1], counts)
        edge_shift = np.zeros((len(edges), 3))
        shifted = self.shift_offsets[frames + 1] - self.shift_offsets[frames]
        if shifted.any():
            rows = segments(self.shift_offsets[frames], shifted)
            edge_shift[np.repeat(shifted > 0, counts)] = self.shifts[rows]
        return Graph(
            positions=batch.positions,
            atomic_numbers=batch.atomic_numbers,
            n_atoms=batch.n_atoms,
            cells=batch.cells,
            pbc=batch.pbc,
            edge_index=edge_index,
            edge_shift=edge_shift,
        )


def _offsets(counts: Int) -> Int:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
