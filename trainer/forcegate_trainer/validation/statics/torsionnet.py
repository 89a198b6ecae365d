"""Barriers of rotatable bonds in relaxed scans, beside published ones: TorsionNet500.

Rai et al., J. Chem. Inf. Model. 62, 785 (2022), doi:10.1021/acs.jcim.1c01346: five hundred
drug-like fragments with a profile from density functional theory each. The file beside this one
holds SMILES, the four atoms of a turn, and the span of the published profile of those 365 whose
bond the elements of the four atoms tell (from mlipaudit 0.1.8, Apache-2.0, which carries no
geometries).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.geometry import get_dihedrals, get_dihedrals_derivatives
from ase.units import kcal, mol
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from forcegate_client.messages import Predictions
from forcegate_client.relaxation.group import Group, Rules
from forcegate_client.structures import StructureBatch
from forcegate_trainer.data.molecules.structures import conformers, hydrogenated, structure_of
from forcegate_trainer.data.sampling.distortions import beyond
from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.simulation.potential import BatchPotential
from forcegate_trainer.validation.points import Point, members_of, student_points, teacher_points
from forcegate_trainer.validation.subject import Subject

__all__ = [
    "Barrier",
    "Fragment",
    "TorsionNetSettings",
    "load_fragments",
    "measure_barriers",
    "relaxed_scan",
]

Float = npt.NDArray[np.float64]

_FILE = "torsionnet.json"
_KCAL_PER_EV = mol / kcal
_EXPLOSION = 1e4  # eV/Å


@dataclass(frozen=True)
class TorsionNetSettings:
    """Every ``every``-th fragment, its bond turned in ``angles`` steps.

    At each angle the student relaxes whichever of ``conformers``, relaxed by a force field, it
    finds lowest: the angle is held by a spring of ``stiffness`` (eV/rad²), all else relaxed to
    ``fmax`` (eV/Å).
    """

    every: int = 5
    angles: int = 24
    conformers: int = 8
    stiffness: float = 20.0
    fmax: float = 0.05
    steps: int = 400
    seed: int = 29


@dataclass(frozen=True)
class Fragment:
    """``torsion``: four atoms of ``hydrogenated(smiles)``, in order; ``barrier`` in kcal/mol."""

    name: str
    smiles: str
    torsion: tuple[int, int, int, int]
    barrier: float


@dataclass(frozen=True)
class Barrier:
    """Highest less lowest energy along a turn, in kcal/mol.

    ``student`` along its own relaxed scan; ``teacher`` at the same geometries; ``reference`` is the
    published one, along a scan of its own. ``converged``: of how many angles the relaxation did.
    """

    fragment: Fragment
    student: float
    teacher: float
    converged: int

    @property
    def reference(self) -> float:
        """The published barrier."""
        return self.fragment.barrier


def load_fragments() -> list[Fragment]:
    """All whose bond is known."""
    content = json.loads(files(__package__).joinpath(_FILE).read_text(encoding="utf-8"))
    return [
        Fragment(one["name"], one["smiles"], tuple(one["torsion"]), one["barrier_kcal"])
        for one in content["fragments"]
    ]


def measure_barriers(
    subject: Subject, settings: TorsionNetSettings, tell: Tell = tell_nobody
) -> tuple[list[Barrier], list[str]]:
    """Relaxed scans of the fragments; and the names of those without an answer at some angle.

    Raises:
        TeacherError: if the teacher is not available.
    """
    wanted = load_fragments()[:: settings.every]
    scans: list[tuple[Fragment, list[Atoms], list[Point], int]] = []
    silent = []
    for row, fragment in enumerate(wanted):
        scan, converged = relaxed_scan(subject.potential, fragment, settings)
        points = [point for point in student_points(subject.potential, scan) if point is not None]
        if len(points) == settings.angles:
            scans.append((fragment, scan, points, converged))
        else:
            silent.append(fragment.name)
        tell("relaxed torsions of TorsionNet500", row + 1, len(wanted))
    every = [atoms for _, scan, _, _ in scans for atoms in scan]
    labels = teacher_points(subject.teacher, every, "the teacher's barriers", tell)
    found = []
    for row, (fragment, _, mine, converged) in enumerate(scans):
        labelled = labels[row * settings.angles : (row + 1) * settings.angles]
        his = [point for point in labelled if point is not None]
        if len(his) == settings.angles:
            found.append(Barrier(fragment, _span(mine), _span(his), converged))
        else:
            silent.append(fragment.name)
    return found, silent


def _span(points: list[Point]) -> float:
    return float(_KCAL_PER_EV * np.ptp([point.energy for point in points]))


def relaxed_scan(
    potential: BatchPotential, fragment: Fragment, settings: TorsionNetSettings
) -> tuple[list[Atoms], int]:
    """The structure of each angle that could be relaxed, and how many came to the end of it."""
    starts = []
    for around in turned(fragment, settings):
        points = student_points(potential, around)
        known = [row for row, point in enumerate(points) if point is not None]
        if known:
            starts.append(around[min(known, key=lambda row: _energy(points[row]))])
    # Within this thread: a calculator's library may know no other.
    group = Group(Rules(settings.fmax, settings.steps, _EXPLOSION), settings.angles)
    done = list(group.fill(iter(enumerate(starts))))
    while len(group):
        done += group.advance(_held(potential, fragment.torsion, settings, group.batch))
    ended = sorted(done, key=lambda one: one.index)
    whole = [one for one in ended if one.problem is None]
    return [one.atoms for one in whole], sum(one.converged for one in whole)


def turned(fragment: Fragment, settings: TorsionNetSettings) -> list[list[Atoms]]:
    """The conformers of a fragment at each multiple of 360° / ``angles``, none where none is found.

    Whatever a conformer is turned to, MMFF94 relaxes it there with the torsion held.
    """
    molecule = hydrogenated(fragment.smiles)
    try:
        starts = conformers(molecule, settings.conformers, settings.seed)
    except MoleculeError:
        return []
    parameters = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
    side = beyond(molecule, fragment.torsion[1], fragment.torsion[2]).tolist()
    found = []
    for angle in np.arange(settings.angles) * 360.0 / settings.angles:
        around = []
        for positions in starts:
            atoms = structure_of(molecule, positions)
            atoms.set_dihedral(*fragment.torsion, float(angle), indices=side)
            if parameters is not None:
                atoms.positions[:] = _settled(molecule, parameters, atoms, fragment, float(angle))
            around.append(atoms)
        found.append(around)
    return found


def _settled(
    molecule: Chem.Mol, parameters: Any, atoms: Atoms, fragment: Fragment, angle: float
) -> Float:
    """Positions [n, 3] in Å where the force field relaxes ``atoms`` with the torsion held."""
    there = Chem.Conformer(len(atoms))
    there.SetPositions(atoms.positions)
    molecule = Chem.Mol(molecule)
    number = molecule.AddConformer(there, assignId=True)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, parameters, confId=number)
    field.Initialize()
    field.MMFFAddTorsionConstraint(*fragment.torsion, False, angle, angle, 1000.0)
    field.Minimize(maxIts=200)
    return np.asarray(molecule.GetConformer(number).GetPositions(), dtype=np.float64)


def _energy(point: Point | None) -> float:
    assert point is not None
    return point.energy


def _held(
    potential: BatchPotential,
    torsion: tuple[int, int, int, int],
    settings: TorsionNetSettings,
    batch: StructureBatch,
) -> Predictions:
    """The potential with a spring to the nearest multiple of the scan's step.

    Structures begin at such multiples, and the spring lets none get near the middle of two.
    """
    answer = potential(batch, members_of(batch))
    atoms = batch.offsets[:-1, None] + np.array(torsion)
    p = batch.positions[atoms]
    v0, v1, v2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 1], p[:, 3] - p[:, 2]
    angle, slope = get_dihedrals(v0, v1, v2), get_dihedrals_derivatives(v0, v1, v2)
    step = 360.0 / settings.angles
    stiffness = settings.stiffness * np.deg2rad(1.0) ** 2
    off = angle - step * np.round(angle / step)
    forces = answer.forces.copy()
    np.add.at(forces, atoms, -stiffness * off[:, None, None] * slope)
    return Predictions(
        index=np.arange(len(batch)),
        n_atoms=batch.n_atoms,
        energy=answer.energies + 0.5 * stiffness * off**2,
        forces=forces,
    )
