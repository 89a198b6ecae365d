// A student as it was read from its weights, ready for one kernel.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels.h"
#include "plain.h"

// The name that the C interface knows it by.
struct forcegate_model {
  // Throws forcegate::Failure.
  forcegate_model(const void* bytes, size_t size, const forcegate::Kernel& kernel);
  forcegate_model(const forcegate_model&) = delete;

  // Index in the embedding of an atomic number, −1 if it is unknown.
  int element_of(int64_t number) const {
    return number < 0 || number >= static_cast<int64_t>(index.size()) ? -1 : index[number];
  }

  const forcegate::Kernel& kernel;
  forcegate::Student student;
  forcegate::Physics physics;
  int width, n_radial;
  std::vector<int64_t> elements;

 private:
  std::vector<int> index;
  std::vector<float> packed;
  std::vector<double> reference_energies, novelty_mean, novelty_factor, uncertainty_factor;
  std::vector<forcegate::PairConstants> pairs;  // [elements, elements]
};
