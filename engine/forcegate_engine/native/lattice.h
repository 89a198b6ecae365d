// Periodic cells: what is checked of them, and atoms wrapped into them.
#pragma once

#include <cstdint>

namespace forcegate {

// One structure's cell, regular along every axis: open axes get unit vectors across the others.
class Lattice {
 public:
  // `cell` [3, 3] in Å, rows are vectors; `pbc` [3]; both null for an open structure.
  // Throws Failure with FORCEGATE_BAD_STRUCTURE.
  Lattice(const double* cell, const uint8_t* pbc);

  bool periodic() const { return axis[0] || axis[1] || axis[2]; }
  // Moved into the cell along periodic axes; `to` [3] may be `from`.
  void wrap(const double* from, double* to) const;
  // In fractions of the vectors.
  void fractions(const double* position, double* to) const;
  // Written out so that an image and its opposite are rounded alike.
  void shift(int a, int b, int c, double* to) const;

  bool axis[3] = {};
  double inverse_height[3];  // 1/Å

 private:
  double cell_[3][3], inverse_[3][3];
};

}  // namespace forcegate
