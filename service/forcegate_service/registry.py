"""The models that are served, and the versions that were refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from forcegate_client.errors import ForcegateError, ModelNotFound
from forcegate_client.structures import StructureBatch
from forcegate_service.errors import ModelRefused
from forcegate_service.graph import build_graph
from forcegate_service.runtime import LoadedRuntime, RuntimeLoader

__all__ = ["Refusal", "Registry", "load_version", "version_folders"]

logger = logging.getLogger(__name__)

# Float32 networks differ between machines in the last digits; other weights differ by far more.
_REFERENCE_TOLERANCE_EV = 2e-3
_WARM_UP_SIZES = (1, 2, 8)
_WARM_UP_ROUNDS = 3


@dataclass(frozen=True)
class Refusal:
    """A version that is not served, and why."""

    model: str
    version: str
    reason: str


@dataclass
class Registry:
    """Versions by model; the newest version of a model is its default."""

    models: dict[str, dict[str, LoadedRuntime]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def add(self, runtime: LoadedRuntime) -> None:
        """Serve one more version."""
        versions = self.models.setdefault(runtime.card.name, {})
        versions[runtime.card.version] = runtime
        self.models[runtime.card.name] = dict(sorted(versions.items(), key=_number))

    def refuse(self, folder: Path, error: ForcegateError) -> None:
        """Remember why the version in ``folder`` is not served."""
        logger.error("refused %s version %s: %s", folder.parent.name, folder.name, error)
        self.refused.append(Refusal(folder.parent.name, folder.name, str(error)))

    def find(self, model: str, version: str | None = None) -> LoadedRuntime:
        """The runtime of ``model``, of its newest version unless one is named.

        Raises:
            ModelNotFound: if there is no such model or version.
        """
        versions = self.models.get(model)
        if versions is None:
            raise ModelNotFound(
                f"model {model!r}",
                expected=f"one of {', '.join(sorted(self.models))}",
                action="GET /v1/models lists what is served",
            )
        if version is None:
            return versions[next(reversed(versions))]
        if version not in versions:
            raise ModelNotFound(
                f"version {version!r} of model {model!r}",
                expected=f"one of {', '.join(versions)}, or none for the newest",
                action="GET /v1/models lists what is served",
                code="version_not_found",
            )
        return versions[version]

    def runtimes(self) -> Iterator[LoadedRuntime]:
        """Every version that is served."""
        for versions in self.models.values():
            yield from versions.values()


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


def load_version(folder: Path, load: RuntimeLoader) -> LoadedRuntime:
    """Open, recognise and warm up one version; runs on the inference thread.

    Raises:
        ModelRefused: if it is not what its card and its folder say.
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
        raise ModelRefused(
            f"{folder} with the card of {runtime.card.name} version {runtime.card.version}",
            expected="folder and card to agree",
            action="restore the folder's name",
        )
    _recognise(runtime)
    _warm_up(runtime)
    return runtime


def _recognise(runtime: LoadedRuntime) -> None:
    reference = runtime.card.reference
    output = runtime.evaluate(build_graph(reference.batch(), runtime.card.cutoff))
    energy_error = abs(float(output.energy[0]) - reference.energy)
    force_error = float(np.abs(output.forces - np.array(reference.forces)).max(initial=0.0))
    # Written so that NaN is a mismatch too.
    if not (energy_error <= _REFERENCE_TOLERANCE_EV and force_error <= _REFERENCE_TOLERANCE_EV):
        raise ModelRefused(
            f"reference energy off by {energy_error:.2g} eV, forces by {force_error:.2g} eV/Å",
            expected=f"the answers in the card within {_REFERENCE_TOLERANCE_EV} eV and eV/Å",
            action="export the model again",
        )


def _warm_up(runtime: LoadedRuntime) -> None:
    """The first evaluations compile; they should not be a user's."""
    reference = runtime.card.reference.batch()
    for size in _WARM_UP_SIZES:
        graph = build_graph(StructureBatch.concatenate([reference] * size), runtime.card.cutoff)
        for _ in range(_WARM_UP_ROUNDS):
            runtime.evaluate(graph)


def _number(entry: tuple[str, LoadedRuntime]) -> int:
    return int(entry[0])
