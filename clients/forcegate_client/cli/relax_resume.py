"""What an interrupted ``forcegate relax`` has left, for one that goes on with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread

from forcegate_client.cli.console import CommandError
from forcegate_client.cli.files import partial_name
from forcegate_client.cli.frame_results import FrameResult

__all__ = ["Earlier", "take_earlier"]


@dataclass(frozen=True)
class Earlier:
    """The weights that answered before; ``None`` if nobody was asked."""

    version: str | None = None
    digest: str | None = None


def take_earlier(target: Path, results: Sequence[FrameResult]) -> Earlier:
    """Fill in those of ``results`` that are kept in ``target``, or beside it.

    Raises:
        CommandError: if there is nothing, or it is of other structures or of several models.
    """
    place = next((path for path in (partial_name(target), target) if path.is_file()), None)
    if place is None:
        raise CommandError(f"nothing to continue: no {target}; leave out --continue")
    known = {(result.origin.source, result.origin.index): result for result in results}
    weights = set()
    for kept in iread(place, index=":", format="extxyz"):
        name = (str(kept.info.get("forcegate_source")), kept.info.get("forcegate_index"))
        result = known.get(name)
        if result is None or result.atoms is None:
            raise CommandError(f"{place} holds frames that are none of this input's")
        if not np.array_equal(kept.numbers, result.atoms.numbers):
            raise CommandError(f"{result.origin} is another structure in {place}")
        weights.add((str(kept.info.get("forcegate_version")), kept.info.get("forcegate_digest")))
        _fill(result, kept)
    if len(weights) != 1:
        raise CommandError(f"{place} holds frames of {len(weights)} models; relax all of them anew")
    ((version, digest),) = weights
    return Earlier(version, digest)


def _fill(result: FrameResult, kept: Atoms) -> None:
    info = dict(kept.info)
    result.atoms = kept
    if kept.calc is not None:
        result.energy = float(kept.get_potential_energy())
        result.max_force = float(np.linalg.norm(kept.get_forces(), axis=1).max())
    result.energy_uncertainty = info.get("energy_uncertainty")
    result.max_novelty = info.get("max_novelty")
    result.energy_change = info.get("forcegate_energy_change")
    result.steps = _whole(info.get("forcegate_steps"))
    result.converged = bool(info.get("forcegate_converged", False))
    result.problem, result.detail = info.get("forcegate_problem"), info.get("forcegate_detail")
    warning = str(info.get("forcegate_warning", ""))
    result.warnings = warning.split(" | ") if warning else []


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
