"""The frames of one molecule, or of one pair."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from ase.calculators.calculator import CalculatorError
from numpy.typing import NDArray
from rdkit import Chem

from forcegate_client.dataset import NOT_THERMAL, Frame, Source
from forcegate_trainer.data.molecules.identity import Molecule
from forcegate_trainer.data.molecules.structures import atomic_numbers, conformers, hydrogenated
from forcegate_trainer.data.sampling import distortions, langevin
from forcegate_trainer.data.sampling.dimers import CONTACT_RANGE, Pair, place
from forcegate_trainer.data.sampling.forces import ForceFunction, calculator_forces, mmff_forces
from forcegate_trainer.data.sampling.geometry import closest_contact
from forcegate_trainer.data.sampling.langevin import TrajectoryBlewUpError
from forcegate_trainer.data.sampling.settings import MMFF, SamplingSettings
from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.teachers import parse_teacher

# Sampling needs the right distribution, not the last digit: tblite's default accuracy.
SAMPLING_ACCURACY = 1.0
DIMER_TEMPERATURE = 300.0  # K
DIMER_STEPS = 100
MONOMER_STEPS = 200
FRAMES_PER_PAIR = 4
MAX_SEED = 2**31 - 1


@dataclass
class Sampled:
    """Frames, with row 0 of a molecule table to come, and the reasons of those that failed."""

    frames: list[Frame] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def sample_molecule(molecule: Molecule, settings: SamplingSettings) -> Sampled:
    """Thermal and distorted frames of one molecule; the same for the same seed and settings."""
    sampled = Sampled()
    rng = settings.generator("molecule", molecule.smiles)
    mol = hydrogenated(molecule.smiles)
    try:
        relaxed = conformers(mol, settings.conformers, int(rng.integers(MAX_SEED)))
    except MoleculeError:
        sampled.dropped["no_conformer"] += settings.frames_per_molecule
        return sampled
    for chain, (temperature, count) in enumerate(settings.thermal_frames(rng)):
        begin = relaxed[chain % len(relaxed)]
        try:
            _run_chain(mol, begin, temperature, count, settings, rng, sampled)
        except MoleculeError:
            sampled.dropped["no_force_field"] += count
    thermal = list(sampled.frames)
    for _ in range(settings.distorted_frames if thermal else 0):
        _distort(mol, thermal[rng.integers(len(thermal))].positions, relaxed[0], rng, sampled)
    return sampled


def sample_pair(pair: Pair, settings: SamplingSettings) -> Sampled:
    """Dimers of two molecules at random orientations and distances."""
    sampled = Sampled()
    rng = settings.generator("pair", pair.smiles)
    mol = hydrogenated(pair.smiles)
    monomers = [hydrogenated(m.smiles) for m in (pair.first, pair.second)]
    try:
        relaxed = [conformers(m, 1, int(rng.integers(MAX_SEED)))[0] for m in monomers]
        for index in range(FRAMES_PER_PAIR):
            warm = [
                thermal(m, positions, DIMER_TEMPERATURE, rng)
                for m, positions in zip(monomers, relaxed, strict=True)
            ]
            _place_dimer(mol, monomers, warm, settings, index % 2 == 1, rng, sampled)
    except (MoleculeError, TrajectoryBlewUpError):
        sampled.dropped["no_dimer"] += FRAMES_PER_PAIR - len(sampled.frames)
    return sampled


def _run_chain(
    mol: Chem.Mol,
    relaxed: NDArray[np.float64],
    temperature: float,
    count: int,
    settings: SamplingSettings,
    rng: np.random.Generator,
    sampled: Sampled,
) -> None:
    """Equilibrate one chain and add ``count`` decorrelated frames of it."""
    numbers = atomic_numbers(mol)
    forces = _driver(mol, relaxed, settings)
    made = 0
    try:
        # From a relaxed structure half of the kinetic energy goes into the bonds.
        state = langevin.start(numbers, relaxed, 2 * temperature, rng)
        state = langevin.run(state, forces, temperature, settings.equilibration_steps, rng)
        for _ in range(count):
            state = langevin.run(state, forces, temperature, settings.decorrelation_steps, rng)
            positions = _settled(numbers, state.positions, temperature, settings, rng)
            sampled.frames.append(
                Frame(numbers, positions, 0, settings.thermal_source, temperature)
            )
            made += 1
    except TrajectoryBlewUpError:
        sampled.dropped["trajectory_blew_up"] += count - made
    except CalculatorError:
        sampled.dropped["teacher_failed_in_md"] += count - made


def _driver(
    mol: Chem.Mol, positions: NDArray[np.float64], settings: SamplingSettings
) -> ForceFunction:
    if settings.driver == MMFF:
        return mmff_forces(mol, positions)
    teacher = parse_teacher(settings.driver, SAMPLING_ACCURACY)
    return calculator_forces(atomic_numbers(mol), teacher.calculator())


def _settled(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    temperature: float,
    settings: SamplingSettings,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """The positions after a short run under the settling teacher, if there is one."""
    if settings.settle is None:
        return positions
    teacher = parse_teacher(settings.settle, SAMPLING_ACCURACY)
    state = langevin.start(numbers, positions, temperature, rng)
    forces = calculator_forces(numbers, teacher.calculator())
    return langevin.run(state, forces, temperature, settings.settle_steps, rng).positions


def _distort(
    mol: Chem.Mol,
    positions: NDArray[np.float64],
    relaxed: NDArray[np.float64],
    rng: np.random.Generator,
    sampled: Sampled,
) -> None:
    """Add one stretched or turned frame."""
    source, changed = Source.TORSION, None
    if rng.random() < 0.5:
        changed = distortions.turn(mol, positions, rng)
    if changed is None:
        source, changed = Source.STRETCH, distortions.stretch(mol, positions, relaxed, rng)
    if changed is None:
        sampled.dropped["nothing_to_distort"] += 1
    else:
        sampled.frames.append(Frame(atomic_numbers(mol), changed, 0, source))


def thermal(
    mol: Chem.Mol, positions: NDArray[np.float64], temperature: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A relaxed geometry [n,3] (Å) after a short run of the force field at a temperature (K).

    Raises:
        MoleculeError: if no force field knows the molecule.
        TrajectoryBlewUpError: if it flies apart.
    """
    state = langevin.start(atomic_numbers(mol), positions, 2 * temperature, rng)
    return langevin.run(
        state, mmff_forces(mol, positions), temperature, MONOMER_STEPS, rng
    ).positions


def _place_dimer(
    mol: Chem.Mol,
    monomers: list[Chem.Mol],
    warm: list[NDArray[np.float64]],
    settings: SamplingSettings,
    relax: bool,
    rng: np.random.Generator,
    sampled: Sampled,
) -> None:
    """Add one dimer: as placed, or after the monomers have had a moment to turn to each other."""
    numbers = [atomic_numbers(m) for m in monomers]
    for _ in range(20):
        placed = place(numbers[0], warm[0], numbers[1], warm[1], rng)
        if placed is None:
            continue
        positions, temperature = placed, NOT_THERMAL
        if relax:
            state = langevin.start(atomic_numbers(mol), placed, DIMER_TEMPERATURE, rng)
            forces = mmff_forces(mol, placed)
            state = langevin.run(state, forces, DIMER_TEMPERATURE, DIMER_STEPS, rng)
            positions, temperature = state.positions, DIMER_TEMPERATURE
        size = len(numbers[0])
        contact = closest_contact(positions[:size], positions[size:])
        if CONTACT_RANGE[0] <= contact <= CONTACT_RANGE[1]:
            sampled.frames.append(
                Frame(atomic_numbers(mol), positions, 0, Source.DIMER, temperature)
            )
            return
    sampled.dropped["no_dimer"] += 1
