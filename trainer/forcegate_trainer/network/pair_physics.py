"""What two atoms do to each other at any distance: Coulomb, dispersion, nuclear repulsion.

A network with a cutoff of some Å cannot learn what acts beyond it. These three are known, cost one
sum over pairs, and are smooth at every distance.

- **Coulomb** of Gaussian charges: q_i q_j erf(r/σ_ij)/r, σ_ij² = σ_i² + σ_j².
- **Dispersion** as D3(BJ) has it (Grimme et al. 2011, doi:10.1002/jcc.21759) with the parameters of
  ωB97M, and one C6 for each element in place of a table over coordination numbers.
- **Core repulsion** of screened nuclei (Ziegler, Biersack, Littmark 1985), zero from 0.7 times the
  sum of covalent radii on.

In periodic structures Coulomb and dispersion end at a cutoff with value and slope (damped shifted
force, Fennell and Gezelter 2006, doi:10.1063/1.2206581).
"""

import math
from typing import Final

import torch
from ase.data import covalent_radii
from ase.units import Bohr, Hartree
from torch import Tensor, nn

__all__ = ["COULOMB", "PairPhysics"]

COULOMB = Hartree * Bohr  # eV Å / e²

# Å; the width of an atom's charge, in covalent radii.
_WIDTH_IN_RADII = 2.0

# Grimme's √(½ √Z <r⁴>/<r²>) and one C6 (Hartree Bohr⁶) for each element. The C6 of H, C, N, O, F, S
# and Cl are fitted to the teacher's own dispersion of 160 pairs of molecules at 2.5–7 Å (largest
# error from 4.5 Å on: 0.02 kcal/mol), the others are D3's for the usual coordination.
_SIZE = {
    1: 2.00735, 5: 3.64447, 6: 3.10493, 7: 2.71175, 8: 2.59362, 9: 2.38825, 14: 4.88285,
    15: 4.29728, 16: 4.04109, 17: 3.72932, 35: 4.5909, 53: 5.53322,
}  # fmt: skip
_C6 = {
    1: 2.10, 5: 29.5, 6: 26.9, 7: 19.68, 8: 10.98, 9: 5.87, 14: 149.77, 15: 151.69, 16: 124.47,
    17: 89.68, 35: 169.24, 53: 358.5,
}  # fmt: skip
# D3(BJ) for ωB97M.
_S8, _A1, _A2 = 0.3908, 0.566, 3.128

# The universal screening function of Ziegler, Biersack and Littmark.
_SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
_SCREENING_LENGTH = 0.88534 * Bohr
_CORE_REACH = 0.7


class PairPhysics(nn.Module):
    """Kernels and energies of pairs, with their derivatives by the distance; all float64.

    ``elements`` are the atomic numbers, in the order of the indices that ``forward`` takes.
    """

    width: Tensor
    c6: Tensor
    size: Tensor
    radius: Tensor
    nuclear_charge: Tensor
    coulomb: Final[float]
    bohr: Final[float]
    hartree: Final[float]
    s8: Final[float]
    a1: Final[float]
    a2: Final[float]
    core_reach: Final[float]
    screening_length: Final[float]
    screening: Final[tuple[tuple[float, float], ...]]

    def __init__(self, elements: tuple[int, ...]) -> None:
        super().__init__()
        self.coulomb, self.bohr, self.hartree = COULOMB, Bohr, Hartree
        self.s8, self.a1, self.a2 = _S8, _A1, _A2
        self.core_reach, self.screening_length = _CORE_REACH, _SCREENING_LENGTH
        self.screening = _SCREENING
        radii = [float(covalent_radii[z]) for z in elements]
        values = {
            "width": [_WIDTH_IN_RADII * radius for radius in radii],
            "c6": [_C6[z] for z in elements],
            "size": [_SIZE[z] for z in elements],
            "radius": radii,
            "nuclear_charge": [float(z) for z in elements],
        }
        for name, column in values.items():
            # Constants of the code, not of a fit: they are not stored with the weights.
            tensor = torch.tensor(column, dtype=torch.float64)
            self.register_buffer(name, tensor, persistent=False)

    def forward(
        self, distance: Tensor, first: Tensor, second: Tensor, cutoff: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of P pairs: the Coulomb kernel and its slope, and the energy of the rest and its slope.

        ``distance`` [P] in Å, greater than zero; ``first`` and ``second`` [P] are element indices;
        ``cutoff`` [P] in Å, 0 where all distances count. The kernel is in eV/e², energies in eV.
        """
        kernel, kernel_slope = self.ended(distance, first, second, cutoff, True)
        energy, slope = self.ended(distance, first, second, cutoff, False)
        core, core_slope = self.core(distance, first, second)
        return kernel, kernel_slope, energy + core, slope + core_slope

    def own_kernel(self, cutoff: Tensor) -> Tensor:
        """Kernel [B] in eV/e² of a charge with itself, for ``cutoff`` [B].

        What the end of the pairs at a cutoff leaves out of a neutral whole sits there (Wolf et al.
        1999, doi:10.1063/1.478738).
        """
        limited = cutoff > 0
        safe = torch.where(limited, cutoff, torch.ones_like(cutoff))
        return torch.where(limited, -self.coulomb / safe, torch.zeros_like(cutoff))

    def ended(
        self, distance: Tensor, first: Tensor, second: Tensor, cutoff: Tensor, charges: bool
    ) -> tuple[Tensor, Tensor]:
        """Kernel or dispersion with its slope, both zero from the cutoff on where there is one."""
        if charges:
            value, slope = self.gaussian_charges(distance, first, second)
        else:
            value, slope = self.dispersion(distance, first, second)
        limited = cutoff > 0
        end = torch.where(limited, cutoff, torch.ones_like(cutoff))
        if charges:
            at_end, slope_at_end = self.gaussian_charges(end, first, second)
        else:
            at_end, slope_at_end = self.dispersion(end, first, second)
        inside = torch.where(limited, (distance < cutoff).to(value.dtype), torch.ones_like(value))
        zero = torch.zeros_like(value)
        at_end = torch.where(limited, at_end, zero)
        slope_at_end = torch.where(limited, slope_at_end, zero)
        value = (value - at_end - (distance - end) * slope_at_end) * inside
        return value, (slope - slope_at_end) * inside

    def gaussian_charges(
        self, distance: Tensor, first: Tensor, second: Tensor
    ) -> tuple[Tensor, Tensor]:
        """COULOMB · erf(r/σ)/r and its slope."""
        a = self.width.index_select(0, first)
        b = self.width.index_select(0, second)
        sigma = torch.sqrt(a * a + b * b)
        scaled = distance / sigma
        value = torch.erf(scaled) / distance
        bell = (2.0 / math.sqrt(math.pi)) * torch.exp(-scaled * scaled) / sigma
        slope = (bell - value) / distance
        return self.coulomb * value, self.coulomb * slope

    def dispersion(self, distance: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Energy (eV) of two atoms and its slope."""
        c6 = torch.sqrt(self.c6.index_select(0, first) * self.c6.index_select(0, second))
        ratio = 3.0 * self.size.index_select(0, first) * self.size.index_select(0, second)
        damping = self.a1 * torch.sqrt(ratio) + self.a2
        r = distance / self.bohr
        r2, d2 = r * r, damping * damping
        sixth = r2 * r2 * r2 + d2 * d2 * d2
        eighth = r2 * r2 * r2 * r2 + d2 * d2 * d2 * d2
        energy = -c6 * (1.0 / sixth + self.s8 * ratio / eighth)
        r5 = r2 * r2 * r
        slope = c6 * (
            6.0 * r5 / (sixth * sixth) + self.s8 * ratio * 8.0 * r5 * r2 / (eighth * eighth)
        )
        return self.hartree * energy, (self.hartree / self.bohr) * slope

    def core(self, distance: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Energy (eV) of two screened nuclei and its slope, zero beyond their reach."""
        z = self.nuclear_charge.index_select(0, first)
        y = self.nuclear_charge.index_select(0, second)
        length = self.screening_length / (torch.pow(z, 0.23) + torch.pow(y, 0.23))
        scaled = distance / length
        screen = torch.zeros_like(scaled)
        screen_slope = torch.zeros_like(scaled)
        for weight, rate in self.screening:
            part = weight * torch.exp(-rate * scaled)
            screen = screen + part
            screen_slope = screen_slope - rate * part
        bare = self.coulomb * z * y / distance
        value = bare * screen
        slope = bare * (screen_slope / length - screen / distance)
        # (1 − x)³ (1 + 3x + 6x²), with two derivatives that vanish at x = 1.
        reach = self.core_reach * (
            self.radius.index_select(0, first) + self.radius.index_select(0, second)
        )
        x = (distance / reach).clamp(max=1.0)
        rest = 1.0 - x
        step = rest * rest * rest * (1.0 + x * (3.0 + 6.0 * x))
        step_slope = -30.0 / reach * x * x * rest * rest
        return value * step, slope * step + value * step_slope
