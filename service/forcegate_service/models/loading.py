"""Opening a version: is it what it says, does it answer as its card says, and how fast is it?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forcegate_client.errors import ForcegateError, ModelNotFound
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.contract.reference import compare_with_card, reference_graph
from forcegate_service.contract.runtime import LoadedRuntime, RuntimeLoader
from forcegate_service.contract.size import size_of
from forcegate_service.contract.structures import Structures, of_batch
from forcegate_service.contract.survey import look_at
from forcegate_service.queue.cost import Timing
from forcegate_service.queue.isolate import evaluate_isolated

__all__ = [
    "atomic_energies",
    "load_version",
    "newest_version",
    "open_version",
    "recognise",
    "time_evaluation",
    "version_folders",
    "warm_up_structures",
]

Float = npt.NDArray[np.float64]

_WARM_UP_SIZES = (1, 2, 8, 32)
# Spread out, atoms have fewer neighbours: so the cost of an atom can be told from that of an edge.
_SPREADS = (1.0, 1.8)
# Å, between the copies of one large structure.
_ROW_GAP = 10.0
_WARM_UP_ROUNDS = 3


def version_folders(repository: Path) -> list[Path]:
    """The folders ``<model>/<version>`` of a repository, in order.

    Raises:
        ModelRefused: if there is no such repository or it is empty.
    """
    if not repository.is_dir():
        raise ModelRefused(
            f"model repository {repository}: no such folder",
            expected="a folder with <model>/<version>/model_card.json in it",
            action="set --model-repository or FORCEGATE_MODEL_REPOSITORY",
        )
    folders = [path for path in repository.glob("*/*") if path.is_dir() and path.name.isdecimal()]
    if not folders:
        raise ModelRefused(
            f"model repository {repository}: no model in it",
            expected="<model>/<version>/model_card.json with a number as version",
            action="export a model, or set --model-repository",
        )
    return sorted(folders, key=lambda path: (path.parent.name, int(path.name)))


def newest_version(repository: Path, model: str) -> Path:
    """The folder of the newest version of ``model``.

    Raises:
        ModelRefused: if there is no such repository, or nothing in it.
        ModelNotFound: if the model is not in it.
    """
    folders = version_folders(repository)
    found = [folder for folder in folders if folder.parent.name == model]
    if not found:
        raise ModelNotFound(
            f"model {model!r} of {repository}",
            expected=f"one of {', '.join(sorted({folder.parent.name for folder in folders}))}",
            action="name one of them, or another repository",
        )
    return found[-1]


def load_version(folder: Path, load: RuntimeLoader) -> LoadedRuntime:
    """Open, recognise and warm up one version, all at once.

    Raises:
        ModelRefused: if it is not what its card and its folder say.
    """
    runtime = open_version(folder, load)
    recognise(runtime)
    for structures in warm_up_structures(runtime.card):
        time_evaluation(runtime, structures)
    return runtime


def open_version(folder: Path, load: RuntimeLoader) -> LoadedRuntime:
    """The version in ``folder``, not yet asked anything.

    Raises:
        ModelRefused: if it cannot be opened, or is not the one that its folder says.
    """
    try:
        runtime = load(folder)
    except ForcegateError:
        raise
    except Exception as error:
        raise ModelRefused(
            f"{folder}: {type(error).__name__}: {error}",
            expected="a model file that the runtime can open",
            action="export the model again",
        ) from error
    if (runtime.card.name, runtime.card.version) != (folder.parent.name, folder.name):
        runtime.close()
        raise ModelRefused(
            f"{folder} with the card of {runtime.card.name} version {runtime.card.version}",
            expected="folder and card to agree",
            action="restore the folder's name",
        )
    return runtime


def recognise(runtime: LoadedRuntime) -> None:
    """Ask for the reference structure.

    Raises:
        ModelRefused: if the answer is not the card's.
    """
    compare_with_card(runtime.card, runtime.evaluate(reference_graph(runtime.card)))


def warm_up_structures(card: ModelCard) -> Iterator[Structures]:
    """Batches of several shapes, made of the reference structure.

    A model of interface 2 also gets it as one large structure, most of whose pairs are far apart:
    in small molecules there are as many pairs as edges, which could not be told apart.
    """
    reference = card.reference.batch()
    for spread in _SPREADS:
        one = StructureBatch.from_arrays(
            n_atoms=reference.n_atoms,
            atomic_numbers=reference.atomic_numbers,
            positions=spread * reference.positions,
        )
        for size in _WARM_UP_SIZES:
            yield look_at(StructureBatch.concatenate([one] * size), card)[0]
    if card.charges:
        yield look_at(_in_a_row(reference, _WARM_UP_SIZES[-1]), card)[0]


def _in_a_row(one: StructureBatch, copies: int) -> StructureBatch:
    """One structure of ``copies`` of ``one``, which do not touch."""
    step = float(np.ptp(one.positions[:, 0])) + _ROW_GAP
    shifts = np.zeros((copies, 1, 3))
    shifts[:, 0, 0] = step * np.arange(copies)
    return StructureBatch.from_arrays(
        n_atoms=[copies * one.total_atoms],
        atomic_numbers=np.tile(one.atomic_numbers, copies),
        positions=(one.positions + shifts).reshape(-1, 3),
    )


def time_evaluation(runtime: LoadedRuntime, structures: Structures) -> Timing:
    """The shortest of a few; the first ones are slower, and should not be a user's."""
    shortest = float("inf")
    for _ in range(_WARM_UP_ROUNDS):
        started = time.perf_counter()
        runtime.evaluate(structures)
        shortest = min(shortest, time.perf_counter() - started)
    return Timing(size_of(structures), shortest)


def atomic_energies(runtime: LoadedRuntime) -> Float:
    """[Z + 1] in eV: what the model answers for each of its elements alone, 0 for all others.

    NaN where it fails: of structures with such an atom only the forces are judged.
    """
    card = runtime.card
    size = len(card.elements)
    alone = StructureBatch.from_arrays([1] * size, card.elements, np.zeros((size, 3)))
    energies = np.zeros(max(card.elements) + 1)
    output, _ = evaluate_isolated(runtime, of_batch(alone))
    energies[card.elements] = output.energy
    return energies
