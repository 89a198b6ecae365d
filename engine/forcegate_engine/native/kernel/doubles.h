// Vectors of eight doubles, and the functions of them that pairs need.
#pragma once

#include <cstdint>

#include "vectors.h"

namespace forcegate::FORCEGATE_KERNEL {

constexpr int kDoubles = 8;
typedef double Doubles __attribute__((vector_size(kDoubles * 8)));
typedef double LooseDoubles __attribute__((vector_size(kDoubles * 8), aligned(8), may_alias));
typedef int64_t Longs __attribute__((vector_size(kDoubles * 8)));

inline Doubles load(const double* p) { return *reinterpret_cast<const LooseDoubles*>(p); }
inline void store(double* p, Doubles x) { *reinterpret_cast<LooseDoubles*>(p) = x; }
inline Doubles fill(double x) { return x - Doubles{}; }

inline Doubles root(Doubles x) {
  for (int e = 0; e < kDoubles; ++e) x[e] = __builtin_sqrt(x[e]);
  return x;
}

// Whether a comparison holds in any lane.
inline bool any(Longs x) {
  typedef int64_t Four __attribute__((vector_size(32)));
  typedef int64_t Two __attribute__((vector_size(16)));
  const Four four = __builtin_shufflevector(x, x, 0, 1, 2, 3) |
                    __builtin_shufflevector(x, x, 4, 5, 6, 7);
  const Two two = __builtin_shufflevector(four, four, 0, 1) |
                  __builtin_shufflevector(four, four, 2, 3);
  return (two[0] | two[1]) != 0;
}

// Σ coefficients[k] x^k, the highest first: even and odd powers apart, so that neither chain of
// multiply-adds waits for the other.
template <int COUNT>
inline Doubles polynomial(const double (&coefficients)[COUNT], Doubles x) {
  const Doubles squared = x * x;
  Doubles sums[2] = {fill(coefficients[0]), fill(coefficients[1])};
#pragma GCC unroll 32
  for (int k = 2; k < COUNT; ++k) sums[k & 1] = sums[k & 1] * squared + coefficients[k];
  // The last coefficient is that of x⁰.
  return sums[(COUNT - 2) & 1] * x + sums[(COUNT - 1) & 1];
}

// In an order of its own, whatever the compiler would like.
inline double sum(Doubles x) {
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

// e^x for −700 ≤ x ≤ 0, to two units in the last place: x = n ln 2 + r with |r| ≤ ln 2 / 2, and e^r
// by its Taylor polynomial of degree 12.
inline Doubles exp(Doubles x) {
  x = x < -700.0 ? fill(-700.0) : x;
  const Doubles shifted = x * 1.4426950408889634 + 6755399441055744.0;  // 1.5 · 2⁵²
  const Doubles n = shifted - 6755399441055744.0;
  const Doubles r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  constexpr double kTaylor[] = {1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                                1.0 / 362880.0,    1.0 / 40320.0,    1.0 / 5040.0,
                                1.0 / 720.0,       1.0 / 120.0,      1.0 / 24.0,
                                1.0 / 6.0,         0.5,              1.0,
                                1.0};
  const Doubles e = polynomial(kTaylor, r);
  const Longs exponent = (__builtin_convertvector(n, Longs) + 1023) << 52;
  return e * reinterpret_cast<Doubles>(exponent);
}

// 1 − erf(x) for x ≥ 0, where `bell` = e^(−x²), within 1e-15. (1 + 2x) e^(x²) erfc(x) is smooth: a
// polynomial of degree 18 in u, which runs from −1 to 1 for x from 0 to 6.5, interpolates it in
// Chebyshev points. Beyond, bell is below 1e-18.
inline Doubles erfc(Doubles x, Doubles bell) {
  x = x > 6.5 ? fill(6.5) : x;
  const Doubles above = x + 3.0, twice = 1.0 + 2.0 * x;
  const Doubles over = 1.0 / (above * twice);
  const Doubles u = (x - 3.0) * twice * over * 1.4615384615384615 + 0.46153846153846145;
  constexpr double kCoefficients[] = {
      -3.4985176986581975e-11, 3.62971211235788e-10,   1.454847031547226e-09,
      -4.458247956048669e-09,  -2.914523872632351e-08, 2.85451502195279e-08,
      4.830070201483905e-07,   -7.705702642390821e-08, -8.10283085616156e-06,
      2.6465190692220133e-06,  0.00014795305295945457, -0.0003002718680375897,
      -0.0022993968222654627,  0.01716530170498794,    -0.05783254836308679,
      0.11655598628590297,     -0.12495386461902823,   -0.032783919300506795,
      1.285585195034897};
  return bell * polynomial(kCoefficients, u) * above * over;
}

}  // namespace forcegate::FORCEGATE_KERNEL
