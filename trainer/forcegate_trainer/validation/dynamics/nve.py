"""The microcanonical protocol for many molecules side by side, each judged as if it were alone.

The rules are those of ``forcegate_client.md.nve``, which runs one molecule of a user's: relax, draw
velocities at twice the temperature, take away overall motion without rescaling, scale once, let
it settle, record.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_masses

from forcegate_client.md.monitor import MDSamples
from forcegate_client.md.nve import NVEReport, steps_in
from forcegate_client.md.velocities import degrees_of_freedom, draw_velocities
from forcegate_client.structures import StructureBatch
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.simulation.integrators import velocity_verlet
from forcegate_trainer.simulation.motion import MAX_FORCE, Motion, begin
from forcegate_trainer.simulation.potential import BatchPotential
from forcegate_trainer.validation.dynamics.bond_watch import TORN, BondWatch
from forcegate_trainer.validation.dynamics.molecule_run import MoleculeRun, md_report, moment
from forcegate_trainer.validation.dynamics.recording import KeptFrame, Recording
from forcegate_trainer.validation.dynamics.saved_run import Arrays, SavedRun
from forcegate_trainer.validation.minimum import relax
from forcegate_trainer.validation.settings import NVESettings

__all__ = ["Prepared", "prepare", "run_nve_batch"]

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_BLEW_UP = f"an energy that is not finite, or a force beyond {MAX_FORCE:g} eV/Å"
_CAME_APART = f"a bond torn beyond {TORN:g} × its covalent radii"


@dataclass(frozen=True)
class Prepared:
    """A relaxed molecule; ``bonded`` is the structure before, whose bonds should hold."""

    name: str
    atoms: Atoms
    bonded: Atoms
    n_dof: int
    relaxed: bool


def prepare(
    name: str, atoms: Atoms, calculator: BaseCalculator, *, fmax: float, steps: int
) -> Prepared:
    """Relax a copy of ``atoms`` to ``fmax`` (eV/Å) in at most ``steps`` steps.

    A relaxation that fails leaves the molecule where it began.
    """
    minimum = relax(atoms, calculator, fmax=fmax, steps=steps)
    sane = minimum.trouble is None
    work = minimum.atoms if sane else atoms.copy()
    return Prepared(name, work, atoms.copy(), degrees_of_freedom(work), minimum.converged)


def run_nve_batch(
    molecules: Sequence[Prepared],
    potential: BatchPotential,
    settings: NVESettings,
    tell: Tell = tell_nobody,
    title: str | None = None,
    saved: SavedRun | None = None,
) -> list[MoleculeRun]:
    """Run all ``molecules`` at once; one that blows up or comes apart leaves, the others go on.

    Each molecule's velocities depend on its name and the seed alone, not on the company. A run
    that was ``saved`` goes on where it was, to the same end bit by bit.

    Raises:
        ValueError: if there is no molecule, or one has no degrees of freedom.
    """
    if not molecules:
        raise ValueError("received no molecule; expected at least one")
    run = _Run(molecules, potential, settings)
    total = steps_in(settings.duration_ps, settings.timestep_fs)
    frames = _frame_steps(total, settings)
    arrays = None if saved is None else saved.load()
    first = -steps_in(settings.settle_ps, settings.timestep_fs)
    if arrays is not None:
        first = run.restore(arrays)
    while first < total:
        if first == 0:
            run.recording.note(0, run.motion)
        stop = min(first + settings.bonds_every, 0 if first < 0 else total)
        run.advance(first, stop - first)
        if first >= 0:
            if first + settings.bonds_every in frames:
                run.recording.keep_frames(run.motion)
            tell(title or settings.title, stop, total)
        first = stop
        if saved is not None:
            saved.save(partial(run.state, first), now=first == total)
    return run.results()


class _Run:
    """The molecules that are left, and what happened to the others."""

    def __init__(
        self, molecules: Sequence[Prepared], potential: BatchPotential, settings: NVESettings
    ) -> None:
        self._molecules = molecules
        self._potential = potential
        self._settings = settings
        self._watch = BondWatch([molecule.bonded for molecule in molecules])
        self._lost_ps: dict[int, float] = {}
        self._trouble: dict[int, str] = {}
        self._final: dict[int, Atoms] = {}
        total = steps_in(settings.duration_ps, settings.timestep_fs)
        self.recording = Recording(len(molecules), total, settings.record_every)
        batch = StructureBatch.from_atoms([molecule.atoms for molecule in molecules])
        self._net_charges = batch.charges
        self.motion = begin(batch, potential, _velocities(molecules, settings))
        sane = self.motion.sane()
        self._note_lost(self.motion, ~sane, -settings.settle_ps, _BLEW_UP)
        self.motion = self.motion.keep(sane)

    def advance(self, first: int, steps: int) -> None:
        """The steps from number ``first``, which is negative while settling; then the bonds."""
        if not len(self.motion):
            return
        before = self.motion
        self.motion = velocity_verlet(
            before,
            self._potential,
            timestep_fs=self._settings.timestep_fs,
            steps=steps,
            on_step=partial(self._record, first) if first >= 0 else None,
        )
        time_ps = (first + steps) * self._settings.timestep_fs / 1000.0
        gone = ~np.isin(before.members, self.motion.members)
        self._note_lost(before, gone, time_ps, _BLEW_UP)
        if len(self.motion):
            torn = self._watch.look(self.motion, time_ps)
            self._note_lost(self.motion, torn, time_ps, _CAME_APART)
            self.motion = self.motion.keep(~torn)

    def results(self) -> list[MoleculeRun]:
        """One for each molecule, in order."""
        self._keep_final(self.motion, np.ones(len(self.motion), dtype=np.bool_))
        return [self._result(member) for member in range(len(self._molecules))]

    def state(self, first: int) -> Arrays:
        """All that is needed to go on with step number ``first``."""
        motion, watch = self.motion, self._watch
        told = {
            "lost_ps": self._lost_ps,
            "trouble": self._trouble,
            "broken": [sorted(pairs) for pairs in watch.broken],
            "formed": [sorted(pairs) for pairs in watch.formed],
        }
        arrays: Arrays = {
            "first": np.array(first),
            "told": np.array(json.dumps(told)),
            "changed_ps": watch.changed_ps,
            "members": motion.members,
            "positions": motion.batch.positions,
            "velocities": motion.velocities,
            "energies": motion.energies,
            "forces": motion.forces,
            "novelty": motion.novelty,
            **({} if motion.charges is None else {"charges": motion.charges}),
        }
        for member, atoms in self._final.items():
            arrays[f"final_{member}"] = np.stack([atoms.positions, atoms.get_momenta()])
        return arrays | self.recording.state()

    def restore(self, arrays: Arrays) -> int:
        """Take over what ``state`` gave; the number of the step to go on with."""
        told = json.loads(str(arrays["told"]))
        self._lost_ps = {int(member): time_ps for member, time_ps in told["lost_ps"].items()}
        self._trouble = {int(member): why for member, why in told["trouble"].items()}
        self._watch.broken = [set(map(tuple, pairs)) for pairs in told["broken"]]
        self._watch.formed = [set(map(tuple, pairs)) for pairs in told["formed"]]
        self._watch.changed_ps = arrays["changed_ps"]
        every = StructureBatch.from_atoms([molecule.atoms for molecule in self._molecules])
        members = arrays["members"]
        batch = replace(every.select(members), positions=arrays["positions"])
        self.motion = Motion(
            batch=batch,
            velocities=arrays["velocities"],
            energies=arrays["energies"],
            forces=arrays["forces"],
            novelty=arrays["novelty"],
            members=members,
            masses=np.asarray(atomic_masses[batch.atomic_numbers], dtype=np.float64),
            charges=arrays.get("charges"),
        )
        self._final = {}
        for member, molecule in enumerate(self._molecules):
            if f"final_{member}" in arrays:
                atoms = molecule.atoms.copy()
                atoms.positions[:], momenta = arrays[f"final_{member}"]
                atoms.set_momenta(momenta)
                self._final[member] = atoms
        self.recording.restore(arrays)
        return int(arrays["first"])

    def _record(self, first: int, step: int, motion: Motion) -> None:
        self.recording.note(first + step, motion)

    def _note_lost(self, motion: Motion, gone: Bool, time_ps: float, why: str) -> None:
        for member in motion.members[gone].tolist():
            self._lost_ps[member] = time_ps
            self._trouble[member] = f"{why} {moment(time_ps)}"
        self._keep_final(motion, gone)

    def _keep_final(self, motion: Motion, chosen: Bool) -> None:
        bounds = motion.batch.offsets
        for row in np.flatnonzero(chosen).tolist():
            member = int(motion.members[row])
            where = slice(bounds[row], bounds[row + 1])
            atoms = self._molecules[member].atoms.copy()
            atoms.positions[:] = motion.batch.positions[where]
            atoms.set_velocities(motion.velocities[where])
            self._final[member] = atoms

    def _result(self, member: int) -> MoleculeRun:
        molecule, settings = self._molecules[member], self._settings
        times, potential, kinetic = self.recording.series(member, settings.timestep_fs)
        temperature = 2.0 * kinetic / (units.kB * molecule.n_dof)
        samples = MDSamples(times, potential, kinetic, temperature)
        changed = float(self._watch.changed_ps[member])
        md = md_report(
            samples,
            n_atoms=len(molecule.atoms),
            n_dof=molecule.n_dof,
            broken=frozenset(self._watch.broken[member]),
            formed=frozenset(self._watch.formed[member]),
            trouble=self._trouble.get(member),
        )
        report = NVEReport(
            temperature_k=settings.temperature_k,
            timestep_fs=settings.timestep_fs,
            seed=settings.seed,
            relaxed=molecule.relaxed,
            md=md,
            samples=samples,
            final=self._final[member],
            frames=[_frame(molecule.atoms, kept) for kept in self.recording.frames_of(member)],
        )
        return MoleculeRun(
            name=molecule.name,
            report=report,
            asked_ps=settings.duration_ps,
            bonds_changed_ps=None if np.isnan(changed) else changed,
            lost_ps=self._lost_ps.get(member),
            net_charge_errors=self.recording.net_charges(member) - self._net_charges[member],
        )


def _velocities(molecules: Sequence[Prepared], settings: NVESettings) -> Float:
    """[N, 3] in Å per ASE time unit: twice the temperature, for the bonds get half of it."""
    velocities = []
    for molecule in molecules:
        atoms = molecule.atoms.copy()
        rng = generator(settings.seed, "velocities", molecule.name)
        draw_velocities(atoms, 2.0 * settings.temperature_k, rng, molecule.n_dof)
        velocities.append(atoms.get_velocities())
    return np.concatenate(velocities)


def _frame_steps(total: int, settings: NVESettings) -> set[int]:
    """Steps after which frames are kept, moved to where the bonds are looked at anyway."""
    every, frames = settings.bonds_every, settings.frames
    return {every * round(total * number / frames / every) for number in range(1, frames + 1)}


def _frame(like: Atoms, kept: KeptFrame) -> Atoms:
    frame = like.copy()
    frame.positions[:] = kept.positions
    frame.calc = SinglePointCalculator(frame, energy=kept.energy, forces=kept.forces)
    return frame
