"""An exported program for a version that was exported without one."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch

from forcegate_service.card import PROGRAM_NAME, ModelCard, content_digest
from forcegate_service.compilation.parity import check_parity
from forcegate_service.program import export_program
from forcegate_service.torchscript import load_script
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.painn import PaiNNConfig, Student, student

__all__ = ["add_program", "potential_of"]


def add_program(folder: Path) -> float:
    """Write ``model.pt2`` into a version's folder and name it in the card.

    The version stays what it is: its identity is the digest of ``model.pt``, which is not touched.
    A program that is there already is replaced. Returns the largest deviation of a force from
    ``model.pt``'s, over many shapes and the card's reference, in eV/Å.

    Raises:
        ModelRefused: if a file of the version does not match its card.
        SettingsError: if the network of today is not the one that the weights belong to.
        CompilationFailed: if the program gives other answers than ``model.pt``.
    """
    card = ModelCard.load(folder)
    script = load_script(card.read(folder))
    content = export_program(potential_of(card, script))
    with warnings.catch_warnings():
        # torch's own copying of its trees, nothing of ours.
        warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
        program = torch.export.load(io.BytesIO(content)).module()
    deviation = check_parity(card, script, program)
    aside = folder / f".{PROGRAM_NAME}.partial"
    aside.write_bytes(content)
    aside.replace(folder / PROGRAM_NAME)
    files = card.files | {PROGRAM_NAME: content_digest(content)}
    card.model_copy(update={"files": files}).save(folder)
    return deviation


def potential_of(card: ModelCard, script: torch.jit.ScriptModule) -> Student:
    """The network of a card with the weights of its scripted module.

    Raises:
        SettingsError: if they do not belong together.
    """
    try:
        settings = dict(card.architecture)
        settings["elements"] = tuple(settings["elements"])
        model = student(PaiNNConfig(**settings))
        state = script.state_dict()
        # A script keeps the constants of the code too, which are no weights: they must be today's.
        for name in set(dict(model.named_buffers())) - set(model.state_dict()):
            if not torch.equal(state.pop(name), model.get_buffer(name)):
                raise RuntimeError(f"another {name}")
        model.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise SettingsError(
            f"received {card.name} version {card.version}, whose weights do not fit today's "
            f"network ({str(error).splitlines()[0]}); expected a version of this release: export "
            "the student again"
        ) from error
    return model.eval()
