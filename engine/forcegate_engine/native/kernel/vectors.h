// Vectors of LANES floats, as the compiler's own vector type: it picks the instructions.
#pragma once

#include <cstdint>
#include <cstring>

// Each kernel has a namespace of its own, and calls nothing outside of it but the C library.
namespace forcegate::FORCEGATE_KERNEL {

// LANES is given by whoever compiles: 16 with AVX-512, 8 with AVX2, 4 with what every processor has.
constexpr int kLanes = LANES;
// How many vectors of sums the registers hold beside what feeds them.
#if LANES == 16 || defined(__aarch64__)
constexpr int kSums = 24;
#else
constexpr int kSums = 12;
#endif

typedef float Vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(LANES * 4)));
typedef float WholeVec __attribute__((vector_size(LANES * 4)));

inline Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void store(float* p, Vec x) { *reinterpret_cast<Vec*>(p) = x; }
inline Vec fill(float x) { return x - Vec{}; }

// Keeps a loaded vector in its register. To a compiler, loading it again with every multiply-add
// looks as cheap; with vectors of eight floats the units would then wait for memory.
inline void hold(Vec& x) {
#if defined(__x86_64__) && LANES > 4
  asm("" : "+v"(x));
#else
  (void)x;
#endif
}

// Adds halves to each other: a chain of additions lane by lane would wait for each.
inline float sum(Vec x) {
#if LANES == 16
  typedef float Vec8 __attribute__((vector_size(32)));
  const Vec8 eight = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
                     __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  const Vec eight = x;
#endif
#if LANES > 4
  typedef float Vec4 __attribute__((vector_size(16)));
  const Vec4 four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) +
                    __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
  const Vec four = eight;
#endif
  return (four[0] + four[2]) + (four[1] + four[3]);
}

// e^x for |x| ≤ 87, to 2 units in the last place: x = n ln 2 + r with |r| ≤ ln 2 / 2, and e^r by
// its Taylor polynomial of degree 7.
inline Vec exp(Vec x) {
  x = x > 87.0f ? fill(87.0f) : x;
  x = x < -87.0f ? fill(-87.0f) : x;
  const Vec shifted = x * 1.44269504f + 12582912.0f;  // 1.5 · 2²³: rounds to the nearest integer
  const Vec n = shifted - 12582912.0f;
  const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  Vec e = fill(1.0f / 5040.0f);
  e = e * r + 1.0f / 720.0f;
  e = e * r + 1.0f / 120.0f;
  e = e * r + 1.0f / 24.0f;
  e = e * r + 1.0f / 6.0f;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  const IntVec exponent = (__builtin_convertvector(n, IntVec) + 127) << 23;
  return e * reinterpret_cast<WholeVec>(exponent);
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp(-x)); }

inline Vec silu(Vec x) { return x * sigmoid(x); }

// The derivative of silu.
inline Vec silu_slope(Vec x) {
  const Vec gate = sigmoid(x);
  return gate * (1.0f + x * (1.0f - gate));
}

inline Vec sqrt(Vec x) {
  Vec root;
  for (int lane = 0; lane < kLanes; ++lane) root[lane] = __builtin_sqrtf(x[lane]);
  return root;
}

}  // namespace forcegate::FORCEGATE_KERNEL
