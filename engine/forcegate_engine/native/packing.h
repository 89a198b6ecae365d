// Weights in the order in which a kernel reads them.
#pragma once

#include <vector>

#include "plain.h"
#include "safetensors.h"

namespace forcegate {

// Sizes of a student as they are, before they are rounded up to whole vectors.
struct Sizes {
  int64_t width, depth, n_radial, readout, elements;
  bool charges;
};

Shape shape_of(const Sizes& sizes, int lanes);

// Throws Failure if a tensor is missing or has another shape.
std::vector<float> packed(const Safetensors& file, const Sizes& sizes, int lanes);

}  // namespace forcegate
