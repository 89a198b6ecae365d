// What two atoms do to each other at any distance: Coulomb, dispersion, repulsion of nuclei.
//
// - Gaussian charges: q q' erf(r/σ)/r.
// - Dispersion as D3(BJ) has it (doi:10.1002/jcc.21759), with one C6 for each element.
// - Screened nuclei (Ziegler, Biersack, Littmark 1985), zero from their reach on.
//
// In periodic structures the first two end at a cutoff with value and slope (damped shifted force,
// doi:10.1063/1.2206581).
#pragma once

#include <cmath>

#include "../plain.h"
#include "doubles.h"

namespace forcegate::FORCEGATE_KERNEL {

// Keeps the distance and its gradient finite when two atoms coincide.
constexpr double kDistanceEpsilon = 1e-10;  // Å²

// Eight pairs of two elements.
struct EightPairs {
  Doubles inverse;               // 1/distance
  Doubles kernel, kernel_slope;  // eV/e², and by the distance
  Doubles energy, slope;         // eV of all but Coulomb, and by the distance
};

// ENDED: as pairs of periodic structures are, within the cutoff.
template <bool ENDED>
EightPairs pair_functions(const Physics& physics, const PairConstants& c, Doubles r) {
  EightPairs p;
  const Doubles b = r * (1.0 / physics.bohr), b2 = b * b, b4 = b2 * b2;
  const Doubles sixth = b4 * b2 + c.d6, eighth = b4 * b4 + c.d8;
  // One division for both: each factor's reciprocal is that of the product by the other.
  const Doubles damped = sixth * eighth, all = 1.0 / (r * damped), both = all * r;
  p.inverse = all * damped;
  const Doubles x = r * c.inverse_width;
  Doubles value = p.inverse, bell = Doubles{};
  // Further apart, as most are, charges are points to the last digit.
  if (any(x < 6.0)) {
    bell = exp(-(x * x));
    value -= erfc(x, bell) * p.inverse;
    constexpr double kTwoOverRootPi = 1.1283791670955126;
    bell *= kTwoOverRootPi * c.inverse_width;
  }
  p.kernel = physics.coulomb * value;
  p.kernel_slope = physics.coulomb * ((bell - value) * p.inverse);
  const Doubles by6 = both * eighth, by8 = both * sixth, b5 = b4 * b;
  p.energy = -(c.c6 * by6 + c.c8 * by8);
  p.slope = (6.0 * c.c6 * b5 * (by6 * by6) + 8.0 * c.c8 * (b5 * b2) * (by8 * by8)) *
            (1.0 / physics.bohr);
  if (ENDED) {
    const Doubles rest = r - physics.cutoff;
    p.kernel = p.kernel - c.kernel_end - rest * c.kernel_end_slope;
    p.kernel_slope = p.kernel_slope - c.kernel_end_slope;
    p.energy = p.energy - c.dispersion_end - rest * c.dispersion_end_slope;
    p.slope = p.slope - c.dispersion_end_slope;
  }
  return p;
}

// Adds the repulsion of two nuclei at a distance below their reach: few pairs are that close.
inline void core(const Physics& physics, double r, const PairConstants& c, double& energy,
                 double& slope) {
  const double scaled = r * c.core_rate;
  double screen = 0.0, screen_slope = 0.0;
  for (const auto& term : physics.screening) {
    const double part = term[0] * ::exp(-term[1] * scaled);
    screen += part;
    screen_slope -= term[1] * part;
  }
  const double bare = c.core_charge / r, value = bare * screen;
  const double value_slope = bare * (screen_slope * c.core_rate - screen / r);
  // (1 − x)³ (1 + 3x + 6x²), with two derivatives that vanish at x = 1.
  const double x = r / c.core_reach, rest = 1.0 - x;
  const double step = rest * rest * rest * (1.0 + x * (3.0 + 6.0 * x));
  const double step_slope = -30.0 / c.core_reach * x * x * rest * rest;
  energy += value * step;
  slope += value_slope * step + value * step_slope;
}

}  // namespace forcegate::FORCEGATE_KERNEL
