"""Normal modes of a structure from its Hessian, and what follows of them.

Translations and, of a molecule in open space, rotations are projected out; what is held by
``FixAtoms`` or ``FixCartesian`` does not move. Harmonic throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.thermochemistry import HarmonicThermo, IdealGasThermo

from forcegate_client.constraints import held_coordinates
from forcegate_client.errors import InvalidStructure
from forcegate_client.images.displacements import Hessian

__all__ = ["Thermochemistry", "Vibrations", "vibrations_of"]

Float = npt.NDArray[np.float64]

# Of the largest singular value: what is below is an axis that turns nothing.
_TURNS_NOTHING = 1e-4
# √(eV/Å²/amu) as the energy ħω, eV.
_TO_EV = units._hbar * 1e10 / np.sqrt(units._e * units._amu)
# e²/amu as an integrated absorption coefficient, km/mol: N_A / (12 ε₀ c²).
_TO_KM_PER_MOL = 1e-3 * units._Nav * units._e**2 / (12.0 * units._eps0 * units._c**2 * units._amu)


@dataclass(frozen=True)
class Thermochemistry:
    """At ``temperature`` K and ``pressure`` Pa, in eV and eV/K, by ASE.

    ``enthalpy`` and ``gibbs_energy`` of an ideal gas, by ``IdealGasThermo``; of what cannot turn
    (periodic, or held) ``enthalpy`` is the internal energy and ``gibbs_energy`` Helmholtz's, by
    ``HarmonicThermo``, and there is no ``pressure``.
    """

    temperature: float
    pressure: float | None
    enthalpy: float
    entropy: float
    gibbs_energy: float


@dataclass(frozen=True)
class Vibrations:
    """M normal modes, from the softest to the stiffest.

    ``energies`` [M] ħω in eV, negative for an imaginary frequency; ``modes`` [M, N, 3] in Å/√(Å²
    amu), displacements per unit of the mass-weighted coordinate; ``intensities`` [M] in km/mol,
    ``None`` if the model has no charges.
    """

    atoms: Atoms
    energy: float
    energies: Float
    modes: Float
    intensities: Float | None
    # Whether it flies and turns as a molecule of a gas.
    free: bool

    @property
    def frequencies(self) -> Float:
        """[M] in cm⁻¹; negative where imaginary."""
        found: Float = self.energies / units.invcm
        return found

    @cached_property
    def zero_point_energy(self) -> float:
        """Of all real modes, eV."""
        return float(0.5 * self.energies[self.energies > 0.0].sum())

    @property
    def imaginary(self) -> int:
        """How many frequencies are: none in a minimum, one in a transition state."""
        return int(np.count_nonzero(self.energies < 0.0))

    def thermochemistry(
        self, temperature: float = 298.15, pressure: float = 101325.0, symmetry_number: int = 1
    ) -> Thermochemistry:
        """Of the harmonic oscillators, and of a free molecule that turns and flies, by ASE.

        Raises:
            InvalidStructure: if it is no minimum.
        """
        if self.imaginary:
            raise InvalidStructure(
                f"{self.imaginary} imaginary of {len(self.energies)} frequencies",
                expected="a minimum",
                action="relax it first, to a smaller fmax; if that changes nothing, it is a saddle",
                code="not_a_minimum",
            )
        if not self.free:
            solid = HarmonicThermo(vib_energies=self.energies, potentialenergy=self.energy)
            return Thermochemistry(
                temperature,
                None,
                float(solid.get_internal_energy(temperature, verbose=False)),
                float(solid.get_entropy(temperature, verbose=False)),
                float(solid.get_helmholtz_energy(temperature, verbose=False)),
            )
        gas = IdealGasThermo(
            vib_energies=self.energies,
            geometry=_geometry(self.atoms),
            potentialenergy=self.energy,
            atoms=self.atoms,
            symmetrynumber=symmetry_number,
            # Every model knows closed shells alone.
            spin=0,
        )
        return Thermochemistry(
            temperature,
            pressure,
            float(gas.get_enthalpy(temperature, verbose=False)),
            float(gas.get_entropy(temperature, pressure, verbose=False)),
            float(gas.get_gibbs_energy(temperature, pressure, verbose=False)),
        )


def vibrations_of(atoms: Atoms, hessian: Hessian) -> Vibrations:
    """The normal modes of ``atoms``, whose ``hessian`` it is.

    Raises:
        InvalidStructure: if a constraint is anything but ``FixAtoms`` or ``FixCartesian``.
    """
    held = held_coordinates(atoms).ravel()
    free = not held.any() and not atoms.pbc.any()
    root = np.sqrt(np.repeat(atoms.get_masses(), 3))
    weighted = hessian.matrix / np.outer(root, root)
    # [3N, M]: what may move, and is no motion of the whole.
    inside = np.eye(len(root))[:, ~held]
    if not held.any():
        inside = _complement(_rigid(atoms, root, turns=free))
    squares, vectors = np.linalg.eigh(inside.T @ weighted @ inside)
    modes = (inside @ vectors).T / root
    slopes = hessian.dipole_derivatives
    return Vibrations(
        atoms=atoms.copy(),
        energy=hessian.energy,
        energies=_TO_EV * np.sign(squares) * np.sqrt(abs(squares)),
        modes=modes.reshape(len(squares), len(atoms), 3),
        intensities=None
        if slopes is None
        else _TO_KM_PER_MOL * ((modes @ slopes) ** 2).sum(axis=1),
        free=free,
    )


def _rigid(atoms: Atoms, root: Float, *, turns: bool) -> Float:
    """[3N, K]: translations, and with ``turns`` rotations about the centre of mass, weighted."""
    arms = atoms.positions - atoms.get_center_of_mass()
    motions = [np.tile(axis, (len(atoms), 1)) for axis in np.eye(3)]
    if turns:
        motions += [np.cross(axis, arms) for axis in np.eye(3)]
    return np.array([motion.ravel() * root for motion in motions]).T


def _complement(motions: Float) -> Float:
    """[3N, M]: an orthonormal basis of all that is orthogonal to ``motions``."""
    basis, sizes, _ = np.linalg.svd(motions, full_matrices=True)
    found: Float = basis[:, np.count_nonzero(sizes > _TURNS_NOTHING * sizes.max()) :]
    return found


def _geometry(atoms: Atoms) -> str:
    if len(atoms) == 1:
        return "monatomic"
    moments = atoms.get_moments_of_inertia()
    return "linear" if moments[0] < _TURNS_NOTHING**2 * moments[2] else "nonlinear"
