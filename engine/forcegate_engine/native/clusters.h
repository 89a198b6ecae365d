// Atoms of one structure sorted as the sums over its pairs take them.
#pragma once

#include <vector>

#include "lattice.h"
#include "plain.h"

namespace forcegate {

class Clusters {
 public:
  // `positions` [atoms, 3] in Å; `element` [atoms] of each. `reach` is where pairs of periodic
  // structures end. Throws Failure with FORCEGATE_TOO_LARGE.
  void fill(const double* positions, const int32_t* element, int64_t atoms,
            const Lattice& lattice, double reach);
  // Valid until the next `fill`.
  PairSpace view() const;

 private:
  void take_cell(const Lattice& lattice);
  void wrap(double* position) const;
  void split(int32_t* begin, int32_t* end, int32_t element);
  void add(int32_t* begin, int32_t* end, int32_t element);
  void enclose(double reach);

  std::vector<int32_t> order_, atom_, count_, element_;
  std::vector<double> wrapped_, positions_, center_, half_;
  double frame_[3][3] = {};
  PairSpace space_ = {};
};

}  // namespace forcegate
