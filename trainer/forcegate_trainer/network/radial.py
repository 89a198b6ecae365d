"""Functions of a distance, with their derivatives.

Bessel functions (Gasteiger et al. 2020, arXiv:2003.03123, eq. 7) and a polynomial envelope that
reaches zero at the cutoff with vanishing first and second derivative (C²).
"""

import math

import torch
from torch import Tensor

__all__ = ["bessel", "envelope", "radial_functions"]


def envelope(distance: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Smooth step 1 − 10 x³ + 15 x⁴ − 6 x⁵ with x = r / cutoff, and its derivative by r.

    ``distance`` [E] in Å; both results [E], exactly zero from the cutoff on.
    """
    x = (distance / cutoff).clamp(max=1.0)
    rest = 1.0 - x
    # 1 − 10x³ + 15x⁴ − 6x⁵ = (1 − x)³ (1 + 3x + 6x²): no cancellation near the cutoff.
    value = rest * rest * rest * (1.0 + x * (3.0 + 6.0 * x))
    slope = -30.0 / cutoff * x * x * rest * rest
    return value, slope


def bessel(distance: Tensor, cutoff: float, n_radial: int) -> tuple[Tensor, Tensor]:
    """√(2/c) sin(nπ r/c) / r for n = 1 … n_radial, and the derivatives by r.

    ``distance`` [E] in Å, greater than zero; both results [E, n_radial].
    """
    order = torch.arange(1, n_radial + 1, device=distance.device, dtype=distance.dtype)
    frequency = order * (math.pi / cutoff)
    inverse = (1.0 / distance).unsqueeze(1)
    phase = distance.unsqueeze(1) * frequency
    scale = math.sqrt(2.0 / cutoff)
    value = scale * torch.sin(phase) * inverse
    slope = scale * torch.cos(phase) * frequency * inverse - value * inverse
    return value, slope


def radial_functions(distance: Tensor, cutoff: float, n_radial: int) -> tuple[Tensor, Tensor]:
    """What filters are made of: the Bessel functions and 1, all times the envelope.

    The last one carries a filter's bias: it too must vanish at the cutoff.
    ``distance`` [E] in Å, greater than zero; values and derivatives by r, both [E, n_radial + 1].
    """
    wave, wave_slope = bessel(distance, cutoff, n_radial)
    step, step_slope = envelope(distance, cutoff)
    step, step_slope = step.unsqueeze(1), step_slope.unsqueeze(1)
    value = torch.cat([wave * step, step], 1)
    slope = torch.cat([wave_slope * step + wave * step_slope, step_slope], 1)
    return value, slope
