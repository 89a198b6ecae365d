// Directions and radial functions of edges, formed in float64, eight edges at a time.
#pragma once

#include <cmath>

#include "doubles.h"

namespace forcegate::FORCEGATE_KERNEL {

constexpr int kEdges = kDoubles;

// sin(πx) and cos(πx) for 0 ≤ x ≤ 1, as cos and −sin of y = π(x − ½) by their Taylor series, whose
// first term left out is below 1e-16.
inline void sine_cosine(Doubles x, Doubles& sine, Doubles& cosine) {
  const Doubles y = (x - 0.5) * M_PI, z = y * y;
  Doubles s = Doubles{}, c = Doubles{};
  for (int k = 10; k > 0; --k) {
    s = 1.0 - s * z * (1.0 / ((2 * k + 2) * (2 * k + 3)));
    c = 1.0 - c * z * (1.0 / ((2 * k + 1) * (2 * k + 2)));
  }
  sine = 1.0 - c * z * 0.5;
  cosine = -(y * (1.0 - s * z * (1.0 / 6.0)));
}

// For edges 0 … count − 1 (at most eight): unit[e, 4], and the radial functions value[e, k] with
// their derivatives by the distance slope[e, k]: Bessel functions times the envelope for
// k < functions − 1, then the envelope itself, for the filter's bias. All are zero from the cutoff
// on. sin(nx) and cos(nx) follow from sin x and cos x by recurrence.
inline void radial(const double* vector, int count, double cutoff, int functions, float* unit,
                   float* value, float* slope) {
  Doubles part[3];
  for (int e = 0; e < kEdges; ++e)
    for (int x = 0; x < 3; ++x) part[x][e] = vector[3 * (e < count ? e : count - 1) + x];
  const Doubles r = root(part[0] * part[0] + part[1] * part[1] + part[2] * part[2] + 1e-10);
  const Doubles inverse = 1.0 / r;
  for (int x = 0; x < 3; ++x) {
    const Doubles along = part[x] * inverse;
    for (int e = 0; e < count; ++e) unit[4 * e + x] = static_cast<float>(along[e]);
  }
  const Doubles x = r < cutoff ? r * (1.0 / cutoff) : Doubles{} + 1.0;
  const Doubles rest = 1.0 - x;
  const Doubles envelope = rest * rest * rest * (1.0 + x * (3.0 + 6.0 * x));
  const Doubles envelope_slope = -30.0 / cutoff * x * x * rest * rest;
  Doubles sine, cosine;
  sine_cosine(x, sine, cosine);
  // d/dr [sin(nx)/r · u] = cos(nx) n π/c · u/r + sin(nx)/r · (u' − u/r)
  const Doubles scale = __builtin_sqrt(2.0 / cutoff) * inverse;
  const Doubles by_sine = scale * envelope;
  const Doubles slope_by_cosine = by_sine * (M_PI / cutoff);
  const Doubles slope_by_sine = scale * (envelope_slope - envelope * inverse);
  Doubles s = sine, c = cosine;
  for (int k = 0; k < functions; ++k) {
    const bool bessel = k < functions - 1;
    const Doubles f = bessel ? by_sine * s : envelope;
    const Doubles g = bessel ? slope_by_cosine * c * (k + 1.0) + slope_by_sine * s : envelope_slope;
    for (int e = 0; e < count; ++e) {
      value[e * functions + k] = static_cast<float>(f[e]);
      slope[e * functions + k] = static_cast<float>(g[e]);
    }
    const Doubles next = s * cosine + c * sine;
    c = c * cosine - s * sine;
    s = next;
  }
}

}  // namespace forcegate::FORCEGATE_KERNEL
