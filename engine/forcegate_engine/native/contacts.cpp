#include "contacts.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "failure.h"
#include "gate.h"
#include "lattice.h"
#include "neighbors.h"

namespace forcegate {

namespace {

constexpr double kFarthest = 1e6, kLongestReach = 100.0;  // Å
// Half as far apart as is near: there is no need to look for a closer one, of which a heap of atoms
// has as many as pairs.
constexpr double kEnough = 0.25;
constexpr int64_t kMostNumbers = 1024;

using Long = long long;

struct Closest {
  int64_t pair[2] = {-1, -1};
  double ratio = 1.0, squared = 0.0;  // both of squares

  bool found_enough() const { return ratio < kEnough; }
  void see(int64_t i, int64_t j, double squared_distance, double near) {
    if (!(squared_distance < near * near * ratio)) return;
    ratio = squared_distance / (near * near);
    squared = squared_distance;
    pair[0] = std::min(i, j);
    pair[1] = std::max(i, j);
  }
};

// What is near for any two of the elements of a structure.
double reach_of(const int64_t* numbers, int64_t atoms, const double* near, int64_t n_numbers) {
  std::vector<int64_t> kinds(numbers, numbers + atoms);
  std::sort(kinds.begin(), kinds.end());
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  double reach = 0.0;
  for (const int64_t one : kinds)
    for (const int64_t other : kinds) reach = std::max(reach, near[one * n_numbers + other]);
  return reach;
}

Closest among_all(const double* x, const int64_t* numbers, int64_t atoms, const double* near,
                  int64_t n_numbers) {
  Closest found;
  for (int64_t i = 1; i < atoms; ++i)
    for (int64_t j = 0; j < i; ++j) {
      double squared = 0.0;
      for (int a = 0; a < 3; ++a) {
        const double d = x[3 * j + a] - x[3 * i + a];
        squared += d * d;
      }
      found.see(i, j, squared, near[numbers[i] * n_numbers + numbers[j]]);
      if (found.found_enough()) return found;
    }
  return found;
}

Closest in_boxes(const double* given, const int64_t* numbers, int64_t atoms,
                 const Lattice& lattice, const double* near, int64_t n_numbers) {
  const double reach = reach_of(numbers, atoms, near, n_numbers);
  std::vector<double> x(given, given + 3 * atoms);
  for (int64_t i = 0; lattice.periodic() && i < atoms; ++i) lattice.wrap(&x[3 * i], &x[3 * i]);
  Space space;
  space.fill(x.data(), atoms, lattice, reach, 1);
  Closest found;
  for (int64_t i = 0; i < atoms; ++i) {
    const int32_t box = space.box[i];
    for (int64_t k = space.first_range[box]; k < space.first_range[box + 1]; ++k)
      for (int64_t c = space.ranges[k].begin; c < space.ranges[k].end; ++c) {
        if (c == space.self[i]) continue;
        const double dx = space.x[c] - x[3 * i], dy = space.y[c] - x[3 * i + 1],
                     dz = space.z[c] - x[3 * i + 2];
        const int32_t j = space.atom[c];
        found.see(i, j, dx * dx + dy * dy + dz * dz, near[numbers[i] * n_numbers + numbers[j]]);
        if (found.found_enough()) return found;
      }
  }
  return found;
}

Closest closest_of(const forcegate_structures& s, int64_t b, int64_t begin, const double* near,
                   int64_t n_numbers) {
  const int64_t atoms = s.n_atoms[b];
  if (atoms < 1 || atoms > s.total_atoms - begin)
    fail(FORCEGATE_BAD_ARGUMENT, "%lld atoms in a structure; expected 1 to %lld, those left",
         static_cast<Long>(atoms), static_cast<Long>(s.total_atoms - begin));
  const int64_t* numbers = s.atomic_numbers + begin;
  const double* x = s.positions + 3 * begin;
  for (int64_t i = 0; i < atoms; ++i) {
    if (numbers[i] < 0 || numbers[i] >= n_numbers)
      fail(FORCEGATE_UNKNOWN_ELEMENT, "atom %lld of element %lld; expected 0 to %lld",
           static_cast<Long>(i), static_cast<Long>(numbers[i]), static_cast<Long>(n_numbers - 1));
    for (int a = 0; a < 3; ++a)
      if (!(std::abs(x[3 * i + a]) <= kFarthest))
        fail(FORCEGATE_BAD_STRUCTURE, "atom %lld at %g; expected finite positions within %g Å",
             static_cast<Long>(i), x[3 * i + a], kFarthest);
  }
  const uint8_t* pbc = s.pbc ? s.pbc + 3 * b : nullptr;
  const bool periodic = pbc && (pbc[0] || pbc[1] || pbc[2]);
  if (periodic && !s.cells) fail(FORCEGATE_BAD_ARGUMENT, "periodic axes without cells");
  if (!periodic && atoms <= kAllPairsAtoms) return among_all(x, numbers, atoms, near, n_numbers);
  const Lattice lattice(periodic ? s.cells + 9 * b : nullptr, periodic ? pbc : nullptr);
  return in_boxes(x, numbers, atoms, lattice, near, n_numbers);
}

}  // namespace

void closest(const forcegate_structures& s, const double* near, int64_t n_numbers, int64_t* pairs,
             double* distances) {
  check_sizes(s);
  if (n_numbers < 1 || n_numbers > kMostNumbers)
    fail(FORCEGATE_BAD_ARGUMENT, "distances for %lld elements; expected 1 to %lld",
         static_cast<Long>(n_numbers), static_cast<Long>(kMostNumbers));
  for (int64_t k = 0; k < n_numbers * n_numbers; ++k)
    if (!(near[k] >= 0.0 && near[k] <= kLongestReach))
      fail(FORCEGATE_BAD_ARGUMENT, "a distance of %g Å; expected 0 to %g", near[k], kLongestReach);
  int64_t begin = 0;
  for (int64_t b = 0; b < s.n_structures; ++b) {
    Closest found;
    try {
      found = closest_of(s, b, begin, near, n_numbers);
    } catch (Failure& failure) {
      failure.structure = b;
      throw;
    }
    pairs[2 * b] = found.pair[0];
    pairs[2 * b + 1] = found.pair[1];
    distances[b] = std::sqrt(found.squared);
    begin += s.n_atoms[b];
  }
  if (begin != s.total_atoms)
    fail(FORCEGATE_BAD_ARGUMENT, "%lld atoms in all structures; expected total_atoms, %lld",
         static_cast<Long>(begin), static_cast<Long>(s.total_atoms));
}

}  // namespace forcegate
