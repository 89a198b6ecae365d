"""A student whose weights were damaged before it was exported: all its papers are in order."""

from __future__ import annotations

from pathlib import Path

import torch

from forcegate_service.contract.card import MODEL_NAME, ModelCard, Reference, file_digest
from forcegate_service.contract.reference import reference_graph

__all__ = ["write_damaged"]

_DAMAGED = "update.gate.weight"


def write_damaged(source: Path, repository: Path, name: str, factor: float) -> ModelCard:
    """The version in ``source`` as ``name`` 1 of ``repository``, some weights times ``factor``.

    Its digest and its reference answers are its own, so nothing that looks at files finds it out;
    what validation measured is still the good student's.
    """
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    module = torch.jit.load(source / MODEL_NAME)
    with torch.no_grad():
        for parameter_name, parameter in module.named_parameters():
            if parameter_name.endswith(_DAMAGED):
                parameter.mul_(factor)
    torch.jit.save(module, folder / MODEL_NAME)
    card = ModelCard.load(source)
    graph = reference_graph(card)
    with torch.inference_mode():
        energy, forces, _, sigma, _ = module(*map(torch.from_numpy, graph.arrays()))
    reference = Reference(
        atomic_numbers=card.reference.atomic_numbers,
        positions=card.reference.positions,
        energy=float(energy[0]),
        forces=forces.tolist(),
        energy_uncertainty=float(sigma[0]),
    )
    files = {MODEL_NAME: file_digest(folder / MODEL_NAME)}
    update = {"name": name, "version": "1", "files": files, "reference": reference}
    damaged = card.model_copy(update=update)
    damaged.save(folder)
    return damaged
