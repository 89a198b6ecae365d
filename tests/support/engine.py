"""Students for the engine, structures that they know, and what torch says of them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from forcegate_client.structures import StructureBatch
from forcegate_engine import Evaluation, Model
from forcegate_service.contract.graph import build_graph
from forcegate_service.contract.neighbors.pairs import PAIR_CUTOFF
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.runtimes.torchscript import TorchScriptRuntime, tensors_of
from forcegate_trainer.export.engine_weights import engine_weights
from forcegate_trainer.network.config import PaiNNConfig
from forcegate_trainer.network.storage import architecture_of, load_exported
from forcegate_trainer.network.student import Student
from support.evaluation import random_rotation
from support.models import newest_version
from support.versions import SMALL, SMALL_CHARGED, random_small_potential

PUBLISHED = ("painn_ultra_tiny", "painn_tiny", "painn_compact", "painn_base")
# A student of interface 2 with random weights, whose charges are of the size that atoms have, and
# one of interface 1.
CHARGED, NEUTRAL = "charged", "neutral"
# Far more pairs of nuclei than one kernel takes at a time: three kinds of blocks.
_MOLECULES = ("H2O", "CH4", "NH3", "CH3OH", "HCF3", "CH3SH", "CH3Cl", "C2H4", "HCN", "H2CO")


@cache
def potential(name: str) -> tuple[Student, PaiNNConfig]:
    """The student in torch."""
    if name == CHARGED:
        config = replace(SMALL_CHARGED, width=20, depth=3)
        model = random_small_potential(config)
        last = next(part for key, part in model.named_modules() if key.endswith("last"))
        with torch.no_grad():
            last.weight *= 0.1
        return model, config
    if name == NEUTRAL:
        return random_small_potential(SMALL), SMALL
    model, card = load_exported(newest_version(name))
    return model, architecture_of(card)


@cache
def weights(name: str) -> bytes:
    return engine_weights(*potential(name), PAIR_CUTOFF)


@cache
def engine(name: str, kernel: str | None = None) -> Model:
    return Model(weights(name), kernel=kernel)


def torch_answer(name: str, batch: StructureBatch) -> ModelOutput:
    """By the TorchScript of a published student, by the network itself of another."""
    model, config = potential(name)
    if name in PUBLISHED:
        return TorchScriptRuntime(newest_version(name)).evaluate(build_graph(batch, *config.reach))
    with torch.inference_mode():
        outputs = model(*tensors_of(build_graph(batch, *config.reach)))
    return ModelOutput(*(output.numpy() for output in outputs))


def evaluated(model: Model, batch: StructureBatch, **options: int) -> Evaluation:
    return model.evaluate(
        batch.atomic_numbers,
        batch.positions,
        n_atoms=batch.n_atoms,
        cells=batch.cells,
        pbc=batch.pbc,
        **options,
    )


def liquid(rng: np.random.Generator, n_molecules: int, kind: str = "open") -> Atoms:
    """Rattled molecules on a lattice wide enough that none touch, turned at random.

    ``kind``: open, bulk, triclinic, slab (third vector zero) or wire.
    """
    side = int(np.ceil(n_molecules ** (1 / 3)))
    places = np.indices((side,) * 3).reshape(3, -1).T[:n_molecules] * 5.6
    whole = Atoms()
    for place in places:
        one = molecule(str(rng.choice(_MOLECULES)))
        one.positions += rng.normal(0.0, 0.02, one.positions.shape)
        center = one.positions.mean(axis=0)
        one.positions = (one.positions - center) @ random_rotation(rng).T + place
        whole += one
    cell = np.diag([5.6 * side + extra for extra in (0.0, 0.4, 0.7)])
    if kind == "triclinic":
        cell = cell @ np.array([[1.0, 0.0, 0.0], [0.3, 1.0, 0.0], [-0.2, 0.35, 1.0]])
        # As in an unwrapped trajectory.
        whole.positions += rng.integers(-3, 3, (len(whole), 3)) @ cell
    pbc = {"open": (0, 0, 0), "slab": (1, 1, 0), "wire": (0, 1, 0)}.get(kind, (1, 1, 1))
    cell[~np.array(pbc, dtype=bool)] = 0.0
    return Atoms(whole.numbers, whole.positions, cell=cell, pbc=pbc)


def build_script() -> ModuleType:
    """What compiles the library, with any flags, for any machine."""
    path = Path(__file__).parents[2] / "engine" / "hatch_build.py"
    found = importlib.util.spec_from_file_location("hatch_build", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


KINDS = ("open", "bulk", "triclinic", "slab", "wire")


@cache
def mixed() -> StructureBatch:
    """Structures of 1 to 300 atoms, every periodicity, in no order."""
    rng = np.random.default_rng(0)
    structures = [liquid(rng, int(rng.integers(1, 8)), KINDS[k % 5]) for k in range(40)]
    structures += [liquid(rng, 60, kind) for kind in ("open", "triclinic", "slab")]
    structures += [Atoms("H"), Atoms("Cl", cell=np.eye(3) * 40.0, pbc=True), molecule("C6H6")]
    return StructureBatch.from_atoms([structures[k] for k in rng.permutation(len(structures))])


@cache
def five_hundred() -> StructureBatch:
    """Small ones of every periodicity, lone atoms, atoms out of each other's reach, large ones."""
    rng = np.random.default_rng(5)
    structures = [liquid(rng, int(rng.integers(1, 6)), KINDS[k % 5]) for k in range(483)]
    structures += [liquid(rng, 40, kind) for kind in KINDS]
    structures += [Atoms(symbol) for symbol in ("H", "C", "N", "O", "F", "S", "Cl")]
    structures += [Atoms("CH", [[0.0, 0.0, 0.0], [0.0, 0.0, x]]) for x in (4.999, 5.001, 11.0, 1e5)]
    structures += [Atoms("O", cell=np.eye(3) * 30.0, pbc=True)]
    return StructureBatch.from_atoms([structures[k] for k in rng.permutation(len(structures))])
