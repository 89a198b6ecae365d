"""What a dynamics of ASE keeps: its ensemble, the quantity it conserves, the temperature it wants.

An integrator is recognised by the class that defines its ``step``, so that a subclass which
integrates in a way of its own is taken for nothing that it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ase import units
from ase.calculators.calculator import PropertyNotImplementedError

if TYPE_CHECKING:
    from ase.md.md import MolecularDynamics

__all__ = [
    "Ensemble",
    "conserved_energy",
    "driven_degrees_of_freedom",
    "ensemble_of",
    "target_temperature_k",
]


class Ensemble(StrEnum):
    """What the equations of motion hold constant; ``OTHER`` is an integrator that is not known."""

    NVE = "nve"
    NVT = "nvt"
    NPT = "npt"
    OTHER = "other"


_BY_NAME = {
    "VelocityVerlet": Ensemble.NVE,
    "Langevin": Ensemble.NVT,
    "Andersen": Ensemble.NVT,
    "Bussi": Ensemble.NVT,
    "NVTBerendsen": Ensemble.NVT,
    "NoseHooverChainNVT": Ensemble.NVT,
    "NPTBerendsen": Ensemble.NPT,
    "Inhomogeneous_NPTBerendsen": Ensemble.NPT,
    "IsotropicMTKNPT": Ensemble.NPT,
    "MTKNPT": Ensemble.NPT,
}
# Each atom is pushed by itself, so overall motion is heated as well.
_PUSH_EACH_ATOM = frozenset({"Langevin", "FrameDynamics", "Andersen", "LangevinBAOAB"})
# Those of ASE, and our own.
_KNOWN_MODULES = ("ase.md.", "forcegate_client.md.")
# ASE before and after it was renamed; with a thermostat, a barostat, both or neither.
_NOSE_HOOVER_MELCHIONNA = frozenset({"MelchionnaNPT", "NPT"})


def ensemble_of(dynamics: MolecularDynamics) -> Ensemble:
    """The ensemble that ``dynamics`` samples."""
    name = _integrator(dynamics)
    if name == "LangevinBAOAB":
        return _by_what_acts(dynamics.T_tau is not None, dynamics.externalstress is not None)
    if name in _NOSE_HOOVER_MELCHIONNA:
        return _by_what_acts(dynamics.ttime is not None, dynamics.pfactor_given is not None)
    if name == "FrameDynamics":
        return _by_what_acts(dynamics.temperature_K is not None, False)
    return _BY_NAME.get(name, Ensemble.OTHER)


def conserved_energy(dynamics: MolecularDynamics) -> Callable[[], float] | None:
    """A function for the energy (eV) that the exact dynamics would keep; ``None`` without one.

    It is the total energy at constant energy; with a Nosé–Hoover thermostat or barostat also what
    these hold; with Bussi's thermostat less what it has put in. Langevin, Andersen and Berendsen
    conserve nothing. Nothing is evaluated but what the calculator has at hand.
    """
    name = _integrator(dynamics)
    if name in _NOSE_HOOVER_MELCHIONNA:
        return lambda: float(dynamics.get_gibbs_free_energy())
    if ensemble_of(dynamics) is Ensemble.NVE:
        return lambda: float(dynamics.atoms.get_total_energy())
    if name == "Bussi":
        return lambda: float(dynamics.atoms.get_total_energy() - dynamics.transferred_energy)
    if hasattr(dynamics, "get_conserved_energy") and name in _BY_NAME:
        return _if_free_energy(dynamics)
    return None


def target_temperature_k(dynamics: MolecularDynamics) -> float | None:
    """The temperature that a thermostat holds now; ``None`` without one, or if it does not say."""
    name = _integrator(dynamics)
    if name in ("Langevin", "Andersen", "Bussi"):
        return float(dynamics.temp / units.kB)
    if name in _NOSE_HOOVER_MELCHIONNA:
        return None if dynamics.ttime is None else float(dynamics.temperature / units.kB)
    if "Berendsen" in name:
        return float(dynamics.temperature)
    if name == "NoseHooverChainNVT":
        # ASE keeps it to itself.
        energy = getattr(getattr(dynamics, "_thermostat", None), "_kT", None)
        return None if energy is None else float(energy / units.kB)
    held: Any = getattr(dynamics, "temperature_K", getattr(dynamics, "_temperature_K", None))
    return None if held is None or name == "" else float(held)


def driven_degrees_of_freedom(dynamics: MolecularDynamics) -> int | None:
    """Degrees of freedom where overall motion is heated as well; ``None`` where it is not."""
    if _integrator(dynamics) not in _PUSH_EACH_ATOM or ensemble_of(dynamics) is Ensemble.NVE:
        return None
    free = int(dynamics.atoms.get_number_of_degrees_of_freedom())
    return max(free - 3 if getattr(dynamics, "fix_com", False) else free, 0)


def _integrator(dynamics: MolecularDynamics) -> str:
    """The name of the known class whose ``step`` is used; empty if it is somebody else's."""
    owner = next((cls for cls in type(dynamics).__mro__ if "step" in vars(cls)), object)
    return owner.__name__ if owner.__module__.startswith(_KNOWN_MODULES) else ""


def _by_what_acts(thermostat: bool, barostat: bool) -> Ensemble:
    if barostat:
        # A barostat alone keeps the enthalpy, which is no ensemble of the list.
        return Ensemble.NPT if thermostat else Ensemble.OTHER
    return Ensemble.NVT if thermostat else Ensemble.NVE


def _if_free_energy(dynamics: MolecularDynamics) -> Callable[[], float] | None:
    """``get_conserved_energy`` where it can be had: it asks for an energy that not all have."""
    calculator = dynamics.atoms.calc
    if "free_energy" not in getattr(calculator, "implemented_properties", ()):
        return None

    def energy() -> float:
        try:
            return float(dynamics.get_conserved_energy())
        except PropertyNotImplementedError:
            return float("nan")

    return energy
