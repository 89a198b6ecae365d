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

// Eight pairs of one atom with others, by the columns of its element's PairTable.
struct EightPairs {
  Doubles kernel, kernel_slope;  // eV/e², and by the distance
  Doubles energy, slope;         // eV of all but Coulomb, and by the distance
};

inline EightPairs pair_functions(const Physics& physics, Doubles r,
                                 const double* const columns[kVectorColumns],
                                 int at, bool ended) {
  const auto column = [&](int k) { return load(columns[k] + at); };
  EightPairs p;
  const Doubles inverse = 1.0 / r, rate = column(0), x = r * rate;
  const Doubles bell = exp(-(x * x));
  const Doubles value = (1.0 - erfc(x, bell)) * inverse;
  constexpr double kTwoOverRootPi = 1.1283791670955126;
  p.kernel = physics.coulomb * value;
  p.kernel_slope = physics.coulomb * ((kTwoOverRootPi * rate * bell - value) * inverse);
  const Doubles c6 = column(1), c8 = column(2);
  const Doubles b = r * (1.0 / physics.bohr), b2 = b * b, b4 = b2 * b2;
  const Doubles sixth = b4 * b2 + column(3), eighth = b4 * b4 + column(4);
  const Doubles both = 1.0 / (sixth * eighth);
  const Doubles by6 = both * eighth, by8 = both * sixth, b5 = b4 * b;
  p.energy = -(c6 * by6 + c8 * by8);
  p.slope = (6.0 * c6 * b5 * (by6 * by6) + 8.0 * c8 * (b5 * b2) * (by8 * by8)) *
            (1.0 / physics.bohr);
  if (ended) {
    const Doubles rest = r - physics.cutoff, none = Doubles{};
    const Doubles kernel_end_slope = column(6), end_slope = column(8);
    const auto inside = r < physics.cutoff;
    p.kernel = inside ? p.kernel - column(5) - rest * kernel_end_slope : none;
    p.kernel_slope = inside ? p.kernel_slope - kernel_end_slope : none;
    p.energy = inside ? p.energy - column(7) - rest * end_slope : none;
    p.slope = inside ? p.slope - end_slope : none;
  }
  return p;
}

// Adds the repulsion of two nuclei at a distance below their reach: few pairs are that close.
inline void core(const Physics& physics, double r, double reach, double charge, double rate,
                 double& energy, double& slope) {
  const double scaled = r * rate;
  double screen = 0.0, screen_slope = 0.0;
  for (const auto& term : physics.screening) {
    const double part = term[0] * ::exp(-term[1] * scaled);
    screen += part;
    screen_slope -= term[1] * part;
  }
  const double bare = charge / r, value = bare * screen;
  const double value_slope = bare * (screen_slope * rate - screen / r);
  // (1 − x)³ (1 + 3x + 6x²), with two derivatives that vanish at x = 1.
  const double x = r / reach, rest = 1.0 - x;
  const double step = rest * rest * rest * (1.0 + x * (3.0 + 6.0 * x));
  const double step_slope = -30.0 / reach * x * x * rest * rest;
  energy += value * step;
  slope += value_slope * step + value * step_slope;
}

}  // namespace forcegate::FORCEGATE_KERNEL
