// The images of one cluster that pairs of another one can reach.
#pragma once

#include <cmath>

#include "../plain.h"

namespace forcegate::FORCEGATE_KERNEL {

// Wider than any rounding.
constexpr double kLoose = 1e-6;  // Å

struct Steps {
  int64_t first, last;
};

// Along one axis: which multiples of a length bring something at `from` within `reach` of 0.
inline Steps steps_within(double reach, double from, double inverse_length) {
  return {static_cast<int64_t>(::ceil((-reach - from) * inverse_length)),
          static_cast<int64_t>(::floor((reach - from) * inverse_length))};
}

// Calls visit(shift, ahead) for the images of cluster b whose boxes come within `reach` of that of
// cluster a: `shift` [3] in Å, and `ahead` +1 where they lie to the front, 0 at home, −1 behind.
// Axis by axis, the last one first: what it leaves of the reach is for those before.
template <typename Visit>
void for_images(const PairSpace& space, int64_t a, int64_t b, double reach, const Visit& visit) {
  double from[3], half[3];
  for (int x = 0; x < 3; ++x) {
    from[x] = space.center[3 * b + x] - space.center[3 * a + x];
    half[x] = space.half[3 * b + x] + space.half[3 * a + x] + kLoose;
  }
  int64_t n[3] = {};
  const auto along = [&](const auto& self, int axis, double left, const double* at) -> void {
    Steps steps{0, 0};
    if (axis < space.axes)
      steps = steps_within(::sqrt(left) + half[axis], at[axis], space.inverse[axis]);
    for (n[axis] = steps.first; n[axis] <= steps.last; ++n[axis]) {
      double here[3];
      for (int x = 0; x <= axis; ++x)
        here[x] = at[x] + static_cast<double>(n[axis]) * space.lower[axis][x];
      const double gap = ::fabs(here[axis]) - half[axis];
      const double rest = gap > 0.0 ? left - gap * gap : left;
      if (rest < 0.0) continue;
      if (axis) {
        self(self, axis - 1, rest, here);
        continue;
      }
      double shift[3];
      for (int x = 0; x < 3; ++x)
        shift[x] = static_cast<double>(n[0]) * space.cell[0][x] +
                   static_cast<double>(n[1]) * space.cell[1][x] +
                   static_cast<double>(n[2]) * space.cell[2][x];
      const int64_t first = n[0] ? n[0] : n[1] ? n[1] : n[2];
      visit(shift, first > 0 ? 1 : first < 0 ? -1 : 0);
    }
  };
  along(along, 2, reach * reach, from);
}

}  // namespace forcegate::FORCEGATE_KERNEL
