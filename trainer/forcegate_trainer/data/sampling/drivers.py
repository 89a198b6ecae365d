"""What moves molecules when frames are looked for: a student, or a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from forcegate_client.dataset import Source
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import CARD_NAME, ModelCard, file_digest
from forcegate_service.contract.graph import build_graph
from forcegate_service.runtimes.torchscript import tensors_of
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.network.storage import WEIGHTS_NAME, load_student
from forcegate_trainer.simulation.exported import RuntimePotential, opened
from forcegate_trainer.simulation.potential import BatchPotential, Evaluation
from forcegate_trainer.teachers import parse_teacher

__all__ = ["Driver", "open_driver"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Driver:
    """``name`` and ``digest`` tell it from others, wherever it lies.

    ``source`` is what its frames are called, ``spec`` how a user named it.
    """

    name: str
    digest: str
    source: Source
    spec: str

    def potential(self) -> BatchPotential:
        """Energies and forces of many structures."""
        folder = Path(self.spec)
        if (folder / CARD_NAME).is_file():
            runtime = opened(folder)
            return RuntimePotential(runtime)
        if (folder / WEIGHTS_NAME).is_file():
            return _RunPotential(folder)
        return parse_teacher(self.spec).potential()


def open_driver(spec: str) -> Driver:
    """The driver of that name: a version folder, a run folder, or a teacher.

    Raises:
        SettingsError: if it is a folder with no student in it.
        ModelRefused: if a version's files do not match its card.
        TeacherError: if there is no such teacher.
    """
    folder = Path(spec)
    if (folder / CARD_NAME).is_file():
        card = ModelCard.load(folder)
        return Driver(f"{card.name}/{card.version}", card.digest, Source.ON_POLICY, spec)
    if (folder / WEIGHTS_NAME).is_file():
        name = load_student(folder).name
        digest = file_digest(folder / WEIGHTS_NAME)
        return Driver(f"{name} in training", digest, Source.ON_POLICY, spec)
    if folder.is_dir():
        raise SettingsError(
            f"received {folder}, which holds neither {CARD_NAME} nor {WEIGHTS_NAME}; expected an "
            "exported version or a run with a finished validation"
        )
    record = parse_teacher(spec).record
    return Driver(record.name, record.version, Source.TEACHER_MD, spec)


class _RunPotential:
    """The averaged weights of a run, in torch: slower than what serves students, and at once."""

    def __init__(self, run: Path) -> None:
        stored = load_student(run)
        self._model = stored.model.requires_grad_(False)
        self._reach = stored.architecture.reach

    def __call__(self, batch: StructureBatch, members: Int) -> Evaluation:
        with torch.inference_mode():
            energy, forces, *_ = self._model.evaluate(*tensors_of(build_graph(batch, *self._reach)))
        # Novelty is calibrated when a student is exported.
        return Evaluation(energy.numpy(), forces.numpy(), np.full(len(batch), np.nan))
