"""The model that is served: alone in a repository of its own, and open in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from forcegate_service.contract.card import MODEL_NAME, ModelCard
from forcegate_service.models.loading import newest_version
from forcegate_service.runtimes.fake import write_fake_model

if TYPE_CHECKING:
    from forcegate_bench.subjects.in_process import InProcess

__all__ = ["MOLECULE", "Subject", "subject_of"]

MOLECULE = "aspirin (21 atoms)"
_TOY = "fake"


@dataclass(frozen=True)
class Subject:
    """``repository`` holds nothing but ``folder``, one version of the model ``name``."""

    name: str
    repository: Path
    folder: Path
    engine: bool
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def fake(self) -> bool:
        """Whether it is the toy."""
        return self.name == _TOY

    @property
    def n_parameters(self) -> int:
        """Weights of the model."""
        return ModelCard.load(self.folder).n_parameters

    @cached_property
    def in_process(self) -> InProcess:
        """The same runtime here."""
        # Imported here because torch must find the environment of the process that measures.
        from forcegate_bench.subjects.in_process import InProcess

        if self.engine:
            return InProcess.on_engine(self.folder)
        return InProcess.of_graphs(self.folder, self.fake)


@contextmanager
def subject_of(
    repository: Path, model: str, fake: bool = False, engine: bool = True
) -> Iterator[Subject]:
    """The newest version of ``model``; the toy if ``fake``; TorchScript unless ``engine``."""
    with tempfile.TemporaryDirectory() as name:
        alone = Path(name)
        if fake:
            card = write_fake_model(alone, _TOY)
            folder = alone / card.name / card.version
            yield Subject(_TOY, alone, folder, False, {"FORCEGATE_RUNTIME": "fake"})
            return
        found = newest_version(repository, model)
        folder = alone / model / found.name
        folder.parent.mkdir()
        if engine:
            folder.symlink_to(found.resolve(), target_is_directory=True)
        else:
            _copy_for_torchscript(found, folder)
        yield Subject(model, alone, folder, engine)


def _copy_for_torchscript(version: Path, folder: Path) -> None:
    """What has no weights for the engine is served by TorchScript."""
    card = ModelCard.load(version)
    folder.mkdir()
    (folder / MODEL_NAME).symlink_to((version / MODEL_NAME).resolve())
    files = {MODEL_NAME: card.files[MODEL_NAME]}
    card.model_copy(update={"files": files}).save(folder)
