"""Many structures brought to their minima by a server, which takes all steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from ase import Atoms

from forcegate_client.errors import DigestChanged, PayloadTooLarge
from forcegate_client.http.client import Client
from forcegate_client.http.course import error_in
from forcegate_client.messages import rows_of
from forcegate_client.relaxation.elsewhere import Minimum, relax_elsewhere
from forcegate_client.relaxation.outcome import Evaluate, Relaxed
from forcegate_client.relaxation.remote import RemoteEvaluator
from forcegate_client.runs import End, Frame, Method, RunHeader, RunRequest
from forcegate_client.structures import StructureBatch

__all__ = ["minima_of", "relax_by_requests", "relax_on_server"]

Bool = npt.NDArray[np.bool_]

# Enough for the server to fill its batches; few enough that little is begun anew after a restart.
_ATOMS_AT_ONCE = 16_384


def relax_on_server(
    structures: Iterable[Atoms],
    evaluate: RemoteEvaluator,
    client: Client,
    *,
    method: Method = "fire",
    fmax: float = 0.05,
    max_steps: int = 500,
) -> Iterator[Relaxed]:
    """As ``relax_batched``, the server taking the steps; they come out as they get there.

    ``evaluate`` asks the same server, at the begin alone, and says which version moves them.

    Raises:
        DigestChanged: if other weights move them than ``evaluate`` had.
        ForcegateError: what ended all of them.
    """

    def minima(request: RunRequest) -> Iterator[tuple[int, Minimum]]:
        named = replace(request, model=evaluate.model, version=evaluate.version, method=method)
        return minima_of(named, client, evaluate.digest)

    return relax_by_requests(structures, evaluate, minima, fmax=fmax, max_steps=max_steps)


def relax_by_requests(
    structures: Iterable[Atoms],
    evaluate: Evaluate,
    minima: Callable[[RunRequest], Iterator[tuple[int, Minimum]]],
    *,
    fmax: float,
    max_steps: int,
) -> Iterator[Relaxed]:
    """As ``relax_on_server``, whoever sends the requests, and names the model in them."""

    def move(batch: StructureBatch, fixed: Bool) -> Iterator[tuple[int, Minimum]]:
        return minima(
            RunRequest(
                task="relax",
                structures=batch,
                model="",
                method="fire",
                steps=max_steps,
                properties=("forces",),
                on_error="partial",
                fixed=fixed,
                fmax=fmax,
            )
        )

    return relax_elsewhere(
        *(structures, evaluate, move),
        fmax=fmax,
        max_steps=max_steps,
        atoms_at_once=_ATOMS_AT_ONCE,
    )


def minima_of(
    request: RunRequest, client: Client, digest: str | None
) -> Iterator[tuple[int, Minimum]]:
    """What becomes of each structure of ``request``, in as few streams as the server allows.

    Raises:
        DigestChanged: if the weights are not those of ``digest``.
        ForcegateError: what ended all of them.
    """
    try:
        yield from _in_one(request, client, digest)
        return
    except PayloadTooLarge:
        size = len(request.structures)
        if size < 2:
            raise
    for half in (range(size // 2), range(size // 2, size)):
        for b, minimum in minima_of(request.part(half), client, digest):
            yield half[b], minimum


def _in_one(
    request: RunRequest, client: Client, digest: str | None
) -> Iterator[tuple[int, Minimum]]:
    rows = rows_of(request.structures.n_atoms.tolist())
    last: dict[int, Frame] = {}
    with closing(client.stream(request)) as records:
        for record in records:
            if isinstance(record, RunHeader) and digest not in (None, record.digest):
                raise DigestChanged(
                    f"{record.model} {record.version} with digest {record.digest}",
                    expected=f"the weights that this relaxation began with, {digest}",
                    action="relax again with the new version",
                )
            if isinstance(record, Frame):
                last[record.structure] = record
            if isinstance(record, End):
                b, frame = record.structure, last.pop(record.structure, None)
                here = request.structures.positions[rows[b]] if frame is None else frame.positions
                minimum = Minimum(here, record.step, False, error=error_in(record))
                if frame is not None and minimum.error is None:
                    minimum = replace(
                        minimum,
                        converged=record.reason == "converged",
                        energy=frame.energy,
                        forces=frame.forces,
                    )
                yield b, minimum
