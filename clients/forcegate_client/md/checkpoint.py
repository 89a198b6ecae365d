"""Where a run stands: all that its next step depends on, in a file that is whole or not there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.jsonio import decode, encode
from ase.md.md import MolecularDynamics

from forcegate_client.errors import ForcegateError
from forcegate_client.md.bonds import Pair
from forcegate_client.writing.files import write_text

__all__ = ["CHECKPOINT", "Checkpoint", "CheckpointUnreadable", "Checkpointer"]

CHECKPOINT = "checkpoint.json"
_SCHEMA = 1
# What a kill costs at most, and how often a disk is bothered.
_EVERY_S = 5.0


class CheckpointUnreadable(ForcegateError):
    """There is no checkpoint, or none that this release can go on from."""

    default_code = "checkpoint_unreadable"
    title = "The run cannot be continued"


@dataclass(frozen=True)
class Checkpoint:
    """A run after ``step`` steps.

    ``atoms`` have positions, momenta, cell and constraints; ``random`` is the state of the
    thermostat's generator. ``settings`` and ``origin`` are what the run was started with,
    ``served`` is the model that answers. ``bonds`` are those of the start. ``velocities`` [N, 3] in
    Å/fs are those of dynamics that goes on with them and not with the momenta, to the last bit.
    """

    step: int
    atoms: Atoms
    random: dict[str, Any]
    settings: dict[str, Any]
    served: dict[str, Any]
    origin: dict[str, Any]
    n_dof: int
    bonds: frozenset[Pair]
    velocities: Any = None
    broken: frozenset[Pair] = field(default_factory=frozenset)
    formed: frozenset[Pair] = field(default_factory=frozenset)

    def save(self, folder: Path) -> None:
        """Put it into ``folder``; the one before stays until this one is whole.

        Raises:
            OutputUnwritable: if there is no room for it.
        """
        names = ("step", "random", "settings", "served", "origin", "velocities")
        known = {f: value for f in names if (value := getattr(self, f)) is not None}
        pairs = {f: sorted(getattr(self, f)) for f in ("bonds", "broken", "formed")}
        document = {"schema": _SCHEMA, "n_dof": self.n_dof, "atoms": self.atoms.todict()}
        write_text(folder / CHECKPOINT, encode(document | known | pairs) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """The one in ``folder``.

        Raises:
            CheckpointUnreadable: if there is none, or it cannot be understood.
        """
        path = folder / CHECKPOINT
        try:
            document = decode(path.read_text(encoding="utf-8"))
            if document.pop("schema") != _SCHEMA:
                raise ValueError("another schema")
            document["atoms"] = Atoms.fromdict(document["atoms"])
            for name in ("bonds", "broken", "formed"):
                pairs = ((int(i), int(j)) for i, j in document[name])
                document[name] = frozenset(pairs)
            return cls(**document)
        except FileNotFoundError as error:
            raise CheckpointUnreadable(
                f"no {CHECKPOINT} in {folder}",
                expected="the folder of a forcegate md that began to record",
                action="leave out --continue to begin a new run",
            ) from error
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise CheckpointUnreadable(
                f"{path} ({type(error).__name__}: {error})",
                expected=f"a checkpoint of schema {_SCHEMA}",
                action="begin a new run from final.extxyz or the trajectory",
            ) from error


class Checkpointer:
    """An observer of every step: keeps its state, and saves it every few seconds.

    A signal may come in the middle of a step, when positions are new and momenta are not. What was
    true after the last whole step is kept here.
    """

    def __init__(
        self,
        dynamics: MolecularDynamics,
        rng: np.random.Generator,
        start: Checkpoint,
        folder: Path,
        bonds: Callable[[], tuple[frozenset[Pair], frozenset[Pair]]],
    ) -> None:
        self._dynamics = dynamics
        self._rng = rng
        self._start = start
        self._folder = folder
        self._bonds = bonds
        self._state = self._look()
        self._saved_at = -np.inf

    def __call__(self) -> None:
        """Remember the present step."""
        self._state = self._look()
        if time.monotonic() - self._saved_at >= _EVERY_S:
            self.save()

    @property
    def latest(self) -> Checkpoint:
        """The last whole step."""
        step, positions, momenta, random, velocities = self._state
        atoms = self._start.atoms.copy()
        atoms.arrays["positions"][:] = positions
        atoms.set_momenta(momenta, apply_constraint=False)
        broken, formed = self._bonds()
        return replace(
            self._start,
            step=step,
            atoms=atoms,
            random=random,
            velocities=velocities,
            broken=broken,
            formed=formed,
        )

    def save(self) -> None:
        """Put it on the disk.

        Raises:
            OutputUnwritable: if there is no room for it.
        """
        self.latest.save(self._folder)
        self._saved_at = time.monotonic()

    def _look(self) -> tuple[int, Any, Any, dict[str, Any], Any]:
        atoms = self._dynamics.atoms
        random = dict(self._rng.bit_generator.state)
        velocities = getattr(self._dynamics, "velocities", None)
        moving = atoms.positions.copy(), atoms.get_momenta()
        return (self._dynamics.nsteps, *moving, random, velocities)
