"""Degrees of freedom, temperature and initial velocities of a structure, without hidden rescaling.

The temperature is ``T = 2 K / (k_B · n_dof)`` with the kinetic energy ``K`` and the number of
degrees of freedom that motion is left in once overall translation and rotation are removed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase import Atoms, units

__all__ = [
    "degrees_of_freedom",
    "draw_velocities",
    "remove_translation_and_rotation",
    "scale_to_temperature",
    "temperature_of",
]

Float = npt.NDArray[np.float64]

# Width over length of the nuclear frame below which a molecule counts as linear. Relaxed linear
# molecules are below 0.001; the most slender bent ones (long alkynes) are above 0.05.
LINEAR_WIDTH = 0.01


def degrees_of_freedom(atoms: Atoms) -> int:
    """Degrees of freedom after removing what a free structure conserves.

    3N − 6 for molecules, 3N − 5 for linear ones, 3N − 3 with any periodic axis (the lattice
    fixes the orientation), 0 for one atom. With ASE constraints, 3N less what they remove.
    Linearity is judged from the present geometry: ask once, for the relaxed molecule.
    """
    size = len(atoms)
    if atoms.constraints:
        return int(atoms.get_number_of_degrees_of_freedom())
    if atoms.pbc.any() or size < 2:
        return max(3 * size - 3, 0)
    return 3 * size - (5 if is_linear(atoms.positions) else 6)


def is_linear(positions: Float) -> bool:
    """Whether two or more points (``positions`` [N, 3], Å) lie on one line."""
    spread = np.linalg.svd(positions - positions.mean(axis=0), compute_uv=False)
    return bool(spread[1] <= LINEAR_WIDTH * spread[0])


def temperature_of(atoms: Atoms, n_dof: int) -> float:
    """Kinetic temperature in K.

    Raises:
        ValueError: if there are no degrees of freedom.
    """
    _check_dof(atoms, n_dof)
    return float(2.0 * atoms.get_kinetic_energy() / (units.kB * n_dof))


def scale_to_temperature(atoms: Atoms, temperature_K: float, n_dof: int) -> None:
    """Scale all momenta in place so that the kinetic temperature is exact.

    Raises:
        ValueError: if there are no degrees of freedom, or nothing moves but should.
    """
    present = temperature_of(atoms, n_dof)
    if present == 0.0:
        if temperature_K == 0.0:
            return
        raise ValueError(f"no atom moves, so nothing can be scaled to {temperature_K} K")
    factor = np.sqrt(temperature_K / present)
    atoms.set_momenta(atoms.get_momenta() * factor, apply_constraint=False)


def draw_velocities(
    atoms: Atoms, temperature_K: float, rng: np.random.Generator, n_dof: int | None = None
) -> None:
    """Give ``atoms`` Maxwell–Boltzmann momenta at exactly ``temperature_K``, at rest as a whole.

    Overall translation and rotation are removed (only translation with periodic axes, neither
    with constraints); then all momenta are scaled once. ``n_dof`` defaults to
    ``degrees_of_freedom(atoms)``.

    Raises:
        ValueError: if there are no degrees of freedom.
    """
    n_dof = degrees_of_freedom(atoms) if n_dof is None else n_dof
    _check_dof(atoms, n_dof)
    widths = np.sqrt(atoms.get_masses() * units.kB * temperature_K)
    atoms.set_momenta(widths[:, None] * rng.standard_normal((len(atoms), 3)))
    remove_translation_and_rotation(atoms)
    scale_to_temperature(atoms, temperature_K, n_dof)


def remove_translation_and_rotation(atoms: Atoms) -> None:
    """Take away overall motion in place, and leave all other motion, and its energy, as it is.

    Rotation is kept with periodic axes, where it is no rigid motion; with constraints both are.
    """
    if atoms.constraints:
        return
    masses = atoms.get_masses()[:, None]
    velocities = atoms.get_momenta() / masses
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    if not atoms.pbc.any():
        arms = atoms.positions - (masses * atoms.positions).sum(axis=0) / masses.sum()
        velocities -= np.cross(_angular_velocity(arms, masses, velocities), arms)
    atoms.set_momenta(masses * velocities)


def _angular_velocity(arms: Float, masses: Float, velocities: Float) -> Float:
    """ω [3] with I ω = L; along the axis of a linear molecule, which has no inertia, zero."""
    angular_momentum = (masses * np.cross(arms, velocities)).sum(axis=0)
    inertia = np.eye(3) * (masses * arms**2).sum() - (masses * arms).T @ arms
    return np.asarray(np.linalg.pinv(inertia, rcond=1e-8, hermitian=True) @ angular_momentum)


def _check_dof(atoms: Atoms, n_dof: int) -> None:
    if n_dof < 1:
        raise ValueError(
            f"{atoms.get_chemical_formula()} has {n_dof} degrees of freedom; expected at least "
            "one: an isolated atom has no temperature once its translation is removed"
        )
