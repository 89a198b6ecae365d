// How far a structure lies from what the student was fitted to, by the features of its last layer.
#pragma once

#include "../plain.h"
#include "doubles.h"

namespace forcegate::FORCEGATE_KERNEL {

constexpr int kMostFeatures = 1024;

// |x F|² of a row [size] and a matrix [size, size]; `x` is in float64.
inline double squared_product(const double* x, const double* matrix, int size) {
  double total = 0.0;
  int first = 0;
  for (; first + 4 * kDoubles <= size; first += 4 * kDoubles) {
    Doubles sums[4] = {};
    for (int k = 0; k < size; ++k)
      for (int j = 0; j < 4; ++j)
        sums[j] += x[k] * load(matrix + static_cast<int64_t>(k) * size + first + j * kDoubles);
    for (const Doubles& s : sums) total += sum(s * s);
  }
  for (; first + kDoubles <= size; first += kDoubles) {
    Doubles s = Doubles{};
    for (int k = 0; k < size; ++k)
      s += x[k] * load(matrix + static_cast<int64_t>(k) * size + first);
    total += sum(s * s);
  }
  for (; first < size; ++first) {
    double s = 0.0;
    for (int k = 0; k < size; ++k) s += x[k] * matrix[static_cast<int64_t>(k) * size + first];
    total += s * s;
  }
  return total;
}

// √(|(x − mean) F|² / size) of the features of one atom.
inline double novelty(const Student& student, const float* features, int element) {
  const int size = student.shape.features;
  const double* mean = student.novelty_mean + static_cast<int64_t>(element) * size;
  double offset[kMostFeatures];
  for (int k = 0; k < size; ++k) offset[k] = features[k] - mean[k];
  return __builtin_sqrt(squared_product(offset, student.novelty_factor, size) / size);
}

// |Σ x F| of the features [atoms, stride] of one structure, in eV.
inline double uncertainty(const Student& student, const float* features, int64_t stride,
                          int64_t atoms) {
  const int size = student.shape.features;
  double total[kMostFeatures] = {};
  for (int64_t i = 0; i < atoms; ++i)
    for (int k = 0; k < size; ++k) total[k] += features[i * stride + k];
  return __builtin_sqrt(squared_product(total, student.uncertainty_factor, size));
}

}  // namespace forcegate::FORCEGATE_KERNEL
