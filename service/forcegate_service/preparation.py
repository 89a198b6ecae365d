"""From a decoded request to graphs that can be evaluated: everything that needs no model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forcegate_client.errors import InvalidStructure, PayloadTooLarge
from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_service.card import ModelCard
from forcegate_service.composition import composition_warnings
from forcegate_service.crowding import crowded, estimate_edges
from forcegate_service.graph import Graph, build_graph
from forcegate_service.scheduling.batch_limit import BatchLimit, Piece
from forcegate_service.settings import Settings
from forcegate_service.subgraph import edge_vectors, keep_structures
from forcegate_service.validation import (
    Problems,
    check_properties,
    check_structures,
    without,
)

__all__ = ["Prepared", "check_size", "close_contacts", "prepare"]

# Graphs are built for so many atoms at a time, which bounds what their making needs.
_CHUNK_ATOMS = 4096
# Open structures up to this size make few pairs even if all atoms coincide.
_HARMLESS_ATOMS = 150


@dataclass(frozen=True)
class Prepared:
    """What can be computed of a request, and what cannot.

    ``index`` [K] are the structures in ``pieces``, ascending; all others have a problem.
    """

    request: PredictRequest
    index: npt.NDArray[np.int64]
    pieces: list[Piece]
    problems: Problems
    warnings: dict[int, list[str]] = field(default_factory=dict)
    graph_s: float = 0.0


def check_size(structures: int, atoms: int, settings: Settings) -> None:
    """Raise if a request holds more than one request may hold.

    Raises:
        PayloadTooLarge: saying what there is too much of.
    """
    for received, limit, what in (
        (structures, settings.max_structures, "structures"),
        (atoms, settings.max_atoms, "atoms"),
    ):
        if received > limit:
            raise _too_large(f"{received} {what}", f"at most {limit}", f"too_many_{what}")


def prepare(
    request: PredictRequest,
    card: ModelCard,
    limit: BatchLimit,
    settings: Settings,
    problems: Problems,
) -> Prepared:
    """Check ``request`` and build its graphs, a batch at most each.

    ``problems`` are those found while decoding.

    Raises:
        PayloadTooLarge: if there are too many atoms, structures or pairs.
        UnprocessableRequest: if a property is unknown.
        InvalidStructure: for the first bad structure, unless ``on_error`` is ``partial``.
    """
    started = time.perf_counter()
    batch = request.structures
    check_size(len(batch), batch.total_atoms, settings)
    check_properties(request.properties)
    problems = check_structures(batch, card, request.properties) | problems
    problems |= _too_crowded(batch, card, problems)
    _raise_first(request, problems)
    usable, index = without(batch, problems)
    _check_pairs(usable, card, settings)
    pieces, keep = _graphs(usable, index, card, limit, settings, problems)
    _raise_first(request, problems)
    warnings = composition_warnings(usable)
    return Prepared(
        request=request,
        index=index[keep],
        pieces=pieces,
        problems=problems,
        warnings={int(index[k]): texts for k, texts in warnings.items() if keep[k]},
        graph_s=time.perf_counter() - started,
    )


def _graphs(
    batch: StructureBatch,
    index: npt.NDArray[np.int64],
    card: ModelCard,
    limit: BatchLimit,
    settings: Settings,
    problems: Problems,
) -> tuple[list[Piece], npt.NDArray[np.bool_]]:
    """The graphs of all structures whose atoms keep their distance, and which those are."""
    pieces: list[Piece] = []
    keep = np.ones(len(batch), dtype=np.bool_)
    edges = 0
    for chunk in _chunks(batch):
        whole = len(chunk) == len(batch)
        graph = build_graph(batch if whole else batch.select(chunk), card.cutoff)
        edges += graph.n_edges
        if edges > settings.max_edges:
            raise _too_many_pairs(edges, settings)
        close = close_contacts(graph, card.minimum_distance)
        if close:
            keep[chunk[list(close)]] = False
            graph = keep_structures(graph, keep[chunk])
            for b, distance in close.items():
                problems[int(index[chunk[b]])] = _contact(distance, card, int(index[chunk[b]]))
        pieces += limit.pieces(graph)
    return pieces, keep


def _chunks(batch: StructureBatch) -> list[npt.NDArray[np.int64]]:
    every = np.arange(len(batch))
    if batch.total_atoms <= _CHUNK_ATOMS:
        return [every] if len(batch) else []
    of_chunk = np.cumsum(batch.n_atoms) // _CHUNK_ATOMS
    return np.split(every, np.flatnonzero(np.diff(of_chunk)) + 1)


def close_contacts(graph: Graph, minimum_distance: float) -> dict[int, float]:
    """The shortest distance (Å) in each structure where it is below ``minimum_distance``."""
    vectors = edge_vectors(graph)
    vectors *= vectors
    # No matrix product: for so many rows it would wake threads that inference needs.
    squared = vectors[:, 0] + vectors[:, 1]
    squared += vectors[:, 2]
    close = np.flatnonzero(squared < minimum_distance**2)
    if not len(close):
        return {}
    owners = graph.structure_index[graph.edge_index[0, close]]
    shortest = np.full(len(graph.n_atoms), np.inf)
    np.minimum.at(shortest, owners, np.sqrt(squared[close]))
    return {b: float(shortest[b]) for b in np.unique(owners).tolist()}


def _too_crowded(batch: StructureBatch, card: ModelCard, problems: Problems) -> Problems:
    if not _may_be_dense(batch):
        return {}
    usable, index = without(batch, problems)
    flags = crowded(usable, card.minimum_distance)
    return {b: _contact(None, card, b) for b in index[flags].tolist()}


def _check_pairs(batch: StructureBatch, card: ModelCard, settings: Settings) -> None:
    if _may_be_dense(batch):
        estimate = estimate_edges(batch, card.cutoff)
        # The estimate may be off by a small factor; the exact count follows chunk by chunk.
        if estimate > 4.0 * settings.max_edges:
            raise _too_many_pairs(int(estimate), settings)


def _may_be_dense(batch: StructureBatch) -> bool:
    return bool(np.count_nonzero(batch.pbc) or np.count_nonzero(batch.n_atoms > _HARMLESS_ATOMS))


def _raise_first(request: PredictRequest, problems: Problems) -> None:
    if problems and request.on_error == "raise":
        raise problems[min(problems)]


def _contact(distance: float | None, card: ModelCard, structure: int) -> InvalidStructure:
    how_close = "" if distance is None else f" {distance:.3g} Å apart"
    return InvalidStructure(
        f"two atoms{how_close} (periodic images included)",
        expected=f"distances of at least {card.minimum_distance:g} Å",
        action="check for overlapping atoms, the unit of the positions and the cell",
        code="atoms_too_close",
        structure=structure,
    )


def _too_many_pairs(received: int, settings: Settings) -> PayloadTooLarge:
    return _too_large(
        f"about {received} pairs of neighbours", f"at most {settings.max_edges}", "too_many_pairs"
    )


def _too_large(received: str, expected: str, code: str) -> PayloadTooLarge:
    return PayloadTooLarge(
        received,
        expected=f"{expected} in one request",
        action="split the request into smaller ones",
        code=code,
    )
