#include "lattice.h"

#include <cmath>

#include "failure.h"

namespace forcegate {

namespace {

constexpr double kLongest = 1e6;  // Å
// Volume over the product of lengths; flatter cells have no inverse to speak of.
constexpr double kFlattest = 1e-4;
constexpr double kLowest = 0.1;  // Å between two faces

double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

void cross(const double* a, const double* b, double* out) {
  const double result[3] = {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2],
                            a[0] * b[1] - a[1] * b[0]};
  for (int x = 0; x < 3; ++x) out[x] = result[x];
}

// Makes `out` one Å long; a zero vector stays what it is.
void normalise(double* out) {
  const double length = std::sqrt(dot(out, out));
  for (int x = 0; length > 0.0 && x < 3; ++x) out[x] /= length;
}

}  // namespace

Lattice::Lattice(const double* cell, const uint8_t* pbc) {
  for (int a = 0; a < 3; ++a) {
    axis[a] = pbc && pbc[a];
    for (int x = 0; x < 3; ++x) {
      cell_[a][x] = axis[a] ? cell[3 * a + x] : 0.0;
      if (!(std::abs(cell_[a][x]) <= kLongest))
        fail(FORCEGATE_BAD_STRUCTURE, "a cell vector with %g; expected finite ones up to %g Å",
             cell_[a][x], kLongest);
    }
  }
  const int count = axis[0] + axis[1] + axis[2];
  if (count == 0) {
    for (int a = 0; a < 3; ++a) cell_[a][a] = 1.0;
  } else if (count == 1) {
    const int a = axis[0] ? 0 : axis[1] ? 1 : 2;
    double *own = cell_[a], *next = cell_[(a + 1) % 3], *last = cell_[(a + 2) % 3];
    // Any direction but its own: the one it has least of.
    int least = 0;
    for (int x = 1; x < 3; ++x)
      if (std::abs(own[x]) < std::abs(own[least])) least = x;
    double other[3] = {};
    other[least] = 1.0;
    cross(own, other, next);
    normalise(next);
    cross(own, next, last);
    normalise(last);
  } else if (count == 2) {
    const int a = !axis[0] ? 0 : !axis[1] ? 1 : 2;
    cross(cell_[(a + 1) % 3], cell_[(a + 2) % 3], cell_[a]);
    normalise(cell_[a]);
  }
  double across[3][3], lengths = 1.0;
  for (int a = 0; a < 3; ++a) {
    cross(cell_[(a + 1) % 3], cell_[(a + 2) % 3], across[a]);
    lengths *= std::sqrt(dot(cell_[a], cell_[a]));
  }
  const double volume = dot(cell_[0], across[0]);
  if (!(std::abs(volume) > kFlattest * lengths))
    fail(FORCEGATE_BAD_STRUCTURE, "a cell of volume %g Å³; expected independent vectors along "
         "periodic axes", volume);
  for (int a = 0; a < 3; ++a) {
    for (int x = 0; x < 3; ++x) inverse_[x][a] = across[a][x] / volume;
    inverse_height[a] = std::sqrt(dot(across[a], across[a])) / std::abs(volume);
    if (axis[a] && inverse_height[a] * kLowest > 1.0)
      fail(FORCEGATE_BAD_STRUCTURE, "a cell %g Å thin; expected at least %g",
           1.0 / inverse_height[a], kLowest);
  }
}

void Lattice::fractions(const double* position, double* to) const {
  double result[3];
  for (int a = 0; a < 3; ++a)
    result[a] = position[0] * inverse_[0][a] + position[1] * inverse_[1][a] +
                position[2] * inverse_[2][a];
  for (int a = 0; a < 3; ++a) to[a] = result[a];
}

void Lattice::wrap(const double* from, double* to) const {
  double home[3];
  fractions(from, home);
  for (int a = 0; a < 3; ++a) home[a] = axis[a] ? std::floor(home[a]) : 0.0;
  for (int x = 0; x < 3; ++x)
    to[x] = from[x] - (home[0] * cell_[0][x] + home[1] * cell_[1][x] + home[2] * cell_[2][x]);
}

void Lattice::shift(int a, int b, int c, double* to) const {
  for (int x = 0; x < 3; ++x) to[x] = a * cell_[0][x] + b * cell_[1][x] + c * cell_[2][x];
}

}  // namespace forcegate
