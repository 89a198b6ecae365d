"""One structure that moves: where it is, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.data import atomic_masses

from forcegate_client.md.velocities import degrees_of_freedom
from forcegate_client.runs import Frame, RunRequest
from forcegate_service.contract.runtime import ModelOutput
from forcegate_service.contract.size import GraphSize
from forcegate_service.contract.structures import Structures, Surveyed

__all__ = ["KELVIN_EV", "Run", "State"]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# Boltzmann's constant in eV/K; 1 u (Å/fs)² in eV.
KELVIN_EV = units.kB
_INERTIA_EV = 1.0 / units.fs**2


@dataclass
class State:
    """What a run goes on from, and what the model says there.

    ``positions`` [n, 3] in Å, ``velocities`` [n, 3] in Å/fs or the method's own, ``forces`` [n, 3]
    in eV/Å, ``energy`` and ``energy_uncertainty`` in eV, ``novelty`` the largest of an atom.
    """

    step: int
    positions: Float
    velocities: Float
    forces: Float
    energy: float
    energy_uncertainty: float
    novelty: float
    charges: Float | None


class Run:
    """Structure ``index`` of a request, moved on its own.

    ``fixed`` [n] are atoms that stay, ``masses`` [n] in u; ``size`` is what its evaluation costs.
    """

    def __init__(
        self, request: RunRequest, index: int, surveyed: Structures, output: ModelOutput
    ) -> None:
        """``surveyed`` and ``output`` are of this structure alone, where it begins."""
        atoms = slice(*request.structures.offsets[index : index + 2].tolist())
        self.request, self.index = request, index
        self.structures = surveyed
        self.numbers = surveyed.atomic_numbers
        n = len(self.numbers)
        self.masses: Float = np.asarray(
            atomic_masses[self.numbers] if request.masses is None else request.masses[atoms]
        )
        self.fixed: Bool = np.array(
            np.zeros(n, dtype=np.bool_) if request.fixed is None else request.fixed[atoms]
        )
        given = None if request.task == "relax" else request.velocities
        velocities = np.zeros((n, 3)) if given is None else given[atoms].copy()
        velocities[self.fixed] = 0.0
        edges, pairs = surveyed.counts()
        self.size = GraphSize[float](n, int(edges[0]), int(pairs[0]))
        self.stream = index if request.streams is None else int(request.streams[index])
        self.start_step = 0 if request.start_steps is None else int(request.start_steps[index])
        self.n_dof = self._degrees_of_freedom()
        self.converged = False
        self.told_step = -1
        self.state = State(
            step=self.start_step,
            positions=surveyed.positions,
            velocities=velocities,
            forces=output.forces,
            energy=float(output.energy[0]),
            energy_uncertainty=float(output.energy_uncertainty[0]),
            novelty=float(output.atom_novelty.max()),
            charges=output.charges,
        )

    @property
    def over(self) -> bool:
        """Whether it has arrived, or may take no step more."""
        return self.converged or self.state.step >= self.request.steps

    @property
    def steps_until_told(self) -> int:
        """Steps until the next frame is due, or the end."""
        step, interval = self.state.step, self.request.frame_interval
        left = self.request.steps - step
        return min(left, interval - step % interval) if interval else left

    @property
    def due(self) -> bool:
        """Whether a frame is to be told here."""
        step, interval = self.state.step, self.request.frame_interval
        if step == self.told_step or step == self.start_step > 0:
            return False
        return self.over or bool(interval and step % interval == 0)

    @property
    def kinetic_ev(self) -> float:
        """Kinetic energy in eV."""
        squared = (self.state.velocities**2).sum(axis=1)
        return float(0.5 * _INERTIA_EV * (self.masses * squared).sum())

    @property
    def temperature_k(self) -> float:
        """Kinetic temperature in K, 0 where nothing can move."""
        return 2.0 * self.kinetic_ev / (KELVIN_EV * self.n_dof) if self.n_dof else 0.0

    @property
    def fmax(self) -> float:
        """The largest force on an atom that moves, in eV/Å."""
        squared = (self.state.forces[~self.fixed] ** 2).sum(axis=1)
        return float(np.sqrt(squared.max(initial=0.0)))

    def here(self) -> Structures:
        """The structure where it is; what was counted of it is of its begin."""
        first = self.structures
        edges, pairs = first.counts()
        return Surveyed(
            *(self.state.positions, first.atomic_numbers, first.n_atoms, first.cells, first.pbc),
            *(edges, pairs, first.nearest()),
        )

    def take(self, output: ModelOutput) -> None:
        """Remember what the model says of where it is."""
        state = self.state
        state.forces = output.forces
        state.energy = float(output.energy[0])
        state.energy_uncertainty = float(output.energy_uncertainty[0])
        state.novelty = float(output.atom_novelty.max())
        state.charges = output.charges

    def frame(self, sigma: Float | None, warnings: list[str]) -> Frame:
        """What is told of it here; ``sigma`` [n] is the uncertainty of its forces, if known."""
        state, wanted = self.state, self.request.properties
        dynamics = self.request.task == "dynamics"
        self.told_step = state.step
        return Frame(
            structure=self.index,
            step=state.step,
            positions=state.positions,
            energy=state.energy,
            velocities=state.velocities if dynamics else None,
            temperature_k=self.temperature_k if dynamics else None,
            max_novelty=state.novelty,
            energy_uncertainty=state.energy_uncertainty,
            fmax=None if dynamics else self.fmax,
            forces=state.forces if "forces" in wanted else None,
            charges=state.charges if "charges" in wanted else None,
            force_uncertainty=sigma if "force_uncertainty" in wanted else None,
            warnings=warnings,
        )

    def _degrees_of_freedom(self) -> int:
        if self.request.method == "langevin" or self.fixed.any():
            # A thermostat pushes each atom, and fixed ones hold the others.
            return 3 * int((~self.fixed).sum())
        atoms = Atoms(self.numbers, self.structures.positions, pbc=self.structures.pbc[0])
        return degrees_of_freedom(atoms)
