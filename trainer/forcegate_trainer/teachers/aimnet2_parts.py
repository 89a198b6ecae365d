"""Labels of complexes whose parts are far apart and have net charges.

The ensemble equalises charge over all atoms, at any distance: between far parts a hundredth of an
elementary charge leaks, and the interaction energy does not decay. What acts at such distances is
known: the Coulomb energy of the parts' own charges, and dispersion.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from ase.units import Bohr, Hartree
from torch import Tensor

from forcegate_client.structures import StructureBatch
from forcegate_trainer.teachers.aimnet2_file import unoptimised
from forcegate_trainer.teachers.interface import Answer

__all__ = ["dispersion_of", "separated"]

Int = npt.NDArray[np.int64]

COULOMB = Hartree * Bohr  # eV Å / e²
# The distance (Å) that the networks give an atom to itself: beyond all cutoffs.
_SELF_DISTANCE = 1e3


def separated(
    networks: list[torch.jit.ScriptModule],
    complex_: StructureBatch,
    fragment: Int,
    part_charges: Int,
) -> Answer:
    """The mean of ``networks`` for one complex.

    ``fragment`` [n] numbers its parts, ``part_charges`` [parts] are their net charges in e. Forces
    are the exact gradient: charges change with the geometry of their part.
    """
    numbers = torch.as_tensor(complex_.atomic_numbers)
    parts = [torch.as_tensor(np.flatnonzero(fragment == part)) for part in range(len(part_charges))]
    energies, forces, charges = [], [], []
    for network in networks:
        positions = torch.tensor(complex_.positions, dtype=torch.float32, requires_grad=True)
        with unoptimised():
            energy, charge = _energy(network, positions, numbers, parts, part_charges)
            (gradient,) = torch.autograd.grad(energy, positions)
        energies.append(float(energy.detach()))
        forces.append(-gradient.double().numpy())
        charges.append(charge.detach().double().numpy())
    deviation = np.linalg.norm(np.std(forces, axis=0, ddof=1), axis=1)
    return Answer(
        float(np.mean(energies)),
        np.mean(forces, axis=0),
        charges=np.mean(charges, axis=0),
        force_spread=float(deviation.max()),
    )


def _energy(
    network: torch.jit.ScriptModule,
    positions: Tensor,
    numbers: Tensor,
    parts: list[Tensor],
    part_charges: Int,
) -> tuple[Tensor, Tensor]:
    """Energy in eV and charges [n] in e of one network."""
    charges = torch.zeros(len(numbers))
    energy = dispersion_of(network, positions, numbers)
    for atoms, charge in zip(parts, part_charges.tolist(), strict=True):
        found = network({
            "coord": positions[atoms][None],
            "numbers": numbers[atoms][None],
            "charge": torch.tensor([float(charge)]),
        })  # fmt: skip
        # The part's own dispersion is in both.
        energy = (
            energy + found["energy"][0] - dispersion_of(network, positions[atoms], numbers[atoms])
        )
        charges = charges.index_add(0, atoms, found["charges"][0])
    for number, first in enumerate(parts):
        for second in parts[number + 1 :]:
            distances = torch.cdist(positions[first].double(), positions[second].double())
            products = charges[first].double()[:, None] * charges[second].double()[None, :]
            energy = energy + COULOMB * (products / distances).sum()
    return energy, charges


def dispersion_of(network: torch.jit.ScriptModule, positions: Tensor, numbers: Tensor) -> Tensor:
    """The dispersion (eV) of atoms at ``positions`` [n, 3] in Å, as the network adds it."""
    vectors = positions[:, None] - positions[None, :]
    squares = (vectors**2).sum(dim=-1)
    itself = torch.eye(len(numbers), dtype=torch.bool)
    distances = torch.sqrt(squares.masked_fill(itself, _SELF_DISTANCE**2))
    module = network.outputs.d3bj
    found = module({"numbers": numbers[None], "d_ij": distances[None]})
    energy: Tensor = found[module.key_out][0]
    return energy
