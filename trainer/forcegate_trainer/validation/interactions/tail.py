"""What two molecules feel of each other from contact to 20 Å, student beside teacher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.units import Bohr, Hartree, kcal, mol
from rdkit import Chem
from scipy.spatial.distance import cdist

from forcegate_client.structures import StructureBatch
from forcegate_trainer.data.labelling.complexes import CONTACT, FAR
from forcegate_trainer.data.molecules.structures import conformers, hydrogenated, structure_of
from forcegate_trainer.data.sampling.contacts import CONTACTS, Approach, approach
from forcegate_trainer.data.sampling.randomness import generator
from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.progress import Tell, tell_nobody
from forcegate_trainer.teachers import Answer, parse_teacher
from forcegate_trainer.validation.points import Point, student_points, teacher_points
from forcegate_trainer.validation.subject import Subject

__all__ = ["PAIRS", "Tail", "TailPair", "TailSettings", "measure_tails"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_KCAL_PER_EV = mol / kcal
_COULOMB = Hartree * Bohr * _KCAL_PER_EV  # kcal/mol Å / e²
_MOST_APPROACHES = 20
_BEST_OF = 3


@dataclass(frozen=True)
class TailPair:
    """Two molecules (SMILES) and how they touch, a key of ``CONTACTS``."""

    name: str
    first: str
    second: str
    contact: str

    @property
    def charges(self) -> tuple[int, int]:
        """The net charge of each, in e."""
        one, other = (
            Chem.GetFormalCharge(hydrogenated(text)) for text in (self.first, self.second)
        )
        return one, other

    @property
    def kind(self) -> str:
        """By how many of the two are ions."""
        ions = sum(charge != 0 for charge in self.charges)
        return ("neutral", "ion and neutral", "ion pair")[ions]


PAIRS = (
    TailPair("water and water", "O", "O", "hydrogen bond"),
    TailPair("formamide and acetonitrile", "NC=O", "CC#N", "hydrogen bond"),
    TailPair("water on benzene", "O", "c1ccccc1", "donor on face"),
    TailPair("ammonium and water", "[NH4+]", "O", "hydrogen bond"),
    TailPair("ammonium on benzene", "[NH4+]", "c1ccccc1", "donor on face"),
    TailPair("water and acetate", "O", "CC(=O)[O-]", "hydrogen bond"),
    TailPair("ammonium and acetate", "[NH4+]", "CC(=O)[O-]", "hydrogen bond"),
    TailPair("methylammonium and mesylate", "C[NH3+]", "CS(=O)(=O)[O-]", "hydrogen bond"),
)


@dataclass(frozen=True)
class TailSettings:
    """``points`` closest distances of two rigid molecules from touching to ``farthest`` (Å).

    ``judged_at`` (Å) is one more, at which what ions and neutral molecules feel is judged.
    """

    pairs: tuple[TailPair, ...] = PAIRS
    points: int = 22
    farthest: float = 20.0
    judged_at: float = 12.0
    seed: int = 17


@dataclass(frozen=True)
class Tail:
    """Interaction energies [P] in kcal/mol at the closest ``distances`` [P] (Å) of a pair.

    ``taught`` is what students learn from: the teacher's own, but for parts with net charges
    beyond 6 Å, where it leaks charge, the sum of the parts, their Coulomb energy and dispersion;
    NaN between 4 and 6 Å. ``student_rest`` and ``teacher_rest`` are what is left of each method's
    energy without the Coulomb energy of its own charges of each molecule, made to sum to the net
    charge: without leaks, beyond what dispersion reaches, nothing. NaN where a method tells none.
    """

    pair: TailPair
    distances: Float
    student: Float
    teacher: Float
    taught: Float
    student_rest: Float
    teacher_rest: Float

    def at(self, distance: float) -> int:
        """The row of the closest distance (Å) to this one."""
        return int(np.argmin(np.abs(self.distances - distance)))


def measure_tails(
    subject: Subject, settings: TailSettings, tell: Tell = tell_nobody
) -> tuple[list[Tail], dict[str, str]]:
    """The curve of each pair; and by name, why others have none.

    Raises:
        TeacherError: if the teacher is not available.
    """
    found, left_out = [], {}
    for row, pair in enumerate(settings.pairs):
        try:
            found.append(_measure(subject, pair, settings))
        except MoleculeError as error:
            left_out[pair.name] = str(error)
        tell("pairs drawn apart to 20 Å", row + 1, len(settings.pairs))
    return found, left_out


def _measure(subject: Subject, pair: TailPair, settings: TailSettings) -> Tail:
    mols = hydrogenated(pair.first), hydrogenated(pair.second)
    touching = _touching(pair, mols, settings.seed)
    alone = [
        structure_of(mol, positions)
        for mol, positions in zip(mols, (touching.first, touching.second), strict=True)
    ]
    if not all(map(subject.knows, alone)):
        raise MoleculeError("the student does not know such a molecule")
    steps = np.geomspace(touching.contact, settings.farthest, settings.points)
    distances = np.unique(np.append(steps, settings.judged_at))
    together = [_together(mols, touching.at(float(distance))) for distance in distances]
    structures = [*alone, *together]
    mine = student_points(subject.potential, structures)
    his = teacher_points(subject.teacher, structures)
    student, teacher = _interaction(mine), _interaction(his)
    coulomb = [_coulomb(points[:2], together, pair.charges) for points in (mine, his)]
    return Tail(
        pair=pair,
        distances=distances,
        student=student,
        teacher=teacher,
        taught=_taught(subject.teacher, pair, his, together, distances),
        student_rest=student - coulomb[0],
        teacher_rest=teacher - coulomb[1],
    )


def _touching(pair: TailPair, mols: tuple[Chem.Mol, Chem.Mol], seed: int) -> Approach:
    """Of some orientations the one in which the sites come closest, the same at every call."""
    rng = generator(seed, "tail", pair.name)
    positions = conformers(mols[0], 1, seed)[0], conformers(mols[1], 1, seed)[0]
    tried = (
        approach(mols, positions, CONTACTS[pair.contact], rng) for _ in range(_MOST_APPROACHES)
    )
    found = [one for one in tried if one is not None][:_BEST_OF]
    if not found:
        raise MoleculeError(f"no contact of {pair.name}")
    return min(found, key=lambda one: one.between_sites)


def _together(mols: tuple[Chem.Mol, Chem.Mol], positions: Float) -> Atoms:
    return structure_of(Chem.CombineMols(*mols), positions)


def _interaction(points: list[Point | None]) -> Float:
    """kcal/mol, of [first alone, second alone, pair, pair, …]; NaN where there is no answer."""
    energies = np.array([np.nan if point is None else point.energy for point in points])
    return np.asarray(_KCAL_PER_EV * (energies[2:] - energies[0] - energies[1]))


def _coulomb(alone: list[Point | None], together: list[Atoms], net: tuple[int, int]) -> Float:
    """Coulomb energies in kcal/mol between two molecules whose charges sum to ``net``."""
    charges = []
    for point, total in zip(alone, net, strict=True):
        if point is None or point.charges is None:
            return np.full(len(together), np.nan)
        charges.append(point.charges + (total - point.charges.sum()) / len(point.charges))
    size = len(charges[0])
    products = np.outer(*charges)
    return np.array(
        [
            _COULOMB * float((products / cdist(a.positions[:size], a.positions[size:])).sum())
            for a in together
        ]
    )


def _taught(
    teacher: str,
    pair: TailPair,
    his: list[Point | None],
    together: list[Atoms],
    distances: Float,
) -> Float:
    taught = _interaction(his)
    first, second, *_ = his
    if not any(pair.charges) or first is None or second is None:
        return taught
    far = np.flatnonzero(distances > FAR)
    method = parse_teacher(teacher)
    sizes = [len(first.forces), len(second.forces)]
    replies = method.separated(
        StructureBatch.from_atoms([together[row] for row in far]),
        np.tile(np.repeat(np.arange(2), sizes), len(far)),
        [np.array(pair.charges)] * len(far),
    )
    if replies is None:
        return taught
    taught[(distances > CONTACT) & (distances <= FAR)] = np.nan
    for row, reply in zip(far, replies, strict=True):
        taught[row] = (
            _KCAL_PER_EV * (reply.energy - first.energy - second.energy)
            if isinstance(reply, Answer)
            else np.nan
        )
    return taught
