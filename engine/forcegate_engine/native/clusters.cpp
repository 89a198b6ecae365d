#include "clusters.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "failure.h"

namespace forcegate {

namespace {

// Where no atom is: positions are within 1e6 Å.
constexpr double kNowhere = 1e9;
// Images of clusters that may have to be looked at, a few seconds' worth.
constexpr double kMostImages = 1e9;

double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

}  // namespace

void Clusters::fill(const double* positions, const int32_t* element, int64_t atoms,
                    const Lattice& lattice, double reach) {
  for (auto* column : {&atom_, &count_, &element_}) column->clear();
  positions_.clear();
  order_.resize(atoms);
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(),
                   [&](int32_t i, int32_t j) { return element[i] < element[j]; });
  space_.axes = lattice.axis[0] + lattice.axis[1] + lattice.axis[2];
  wrapped_.assign(positions, positions + 3 * atoms);
  if (space_.axes) {
    take_cell(lattice);
    for (int64_t i = 0; i < atoms; ++i) wrap(&wrapped_[3 * i]);
  }
  int32_t* const last = order_.data() + atoms;
  for (int32_t* begin = order_.data(); begin < last;) {
    int32_t* end = begin;
    while (end < last && element[*end] == element[*begin]) ++end;
    split(begin, end, element[*begin]);
    begin = end;
  }
  if (space_.axes) enclose(reach);
}

// Halves atoms along their longest axis until each cluster has its own.
void Clusters::split(int32_t* begin, int32_t* end, int32_t element) {
  if (end - begin <= kCluster) return add(begin, end, element);
  const int64_t full = (end - begin + 2 * kCluster - 1) / (2 * kCluster);
  int32_t* const middle = begin + kCluster * full;
  if (space_.axes) {
    int axis = 0;
    double longest = -1.0;
    for (int a = 0; a < 3; ++a) {
      const auto [low, high] = std::minmax_element(begin, end, [&](int32_t i, int32_t j) {
        return wrapped_[3 * i + a] < wrapped_[3 * j + a];
      });
      const double length = wrapped_[3 * *high + a] - wrapped_[3 * *low + a];
      if (length > longest) longest = length, axis = a;
    }
    std::nth_element(begin, middle, end, [&](int32_t i, int32_t j) {
      const double x = wrapped_[3 * i + axis], y = wrapped_[3 * j + axis];
      return x < y || (x == y && i < j);
    });
  }
  split(begin, middle, element);
  split(middle, end, element);
}

void Clusters::add(int32_t* begin, int32_t* end, int32_t element) {
  std::sort(begin, end);
  const int count = static_cast<int>(end - begin);
  for (int x = 0; x < 3; ++x)
    for (int k = 0; k < kCluster; ++k)
      positions_.push_back(k < count ? wrapped_[3 * begin[k] + x] : kNowhere);
  for (int k = 0; k < kCluster; ++k) atom_.push_back(k < count ? begin[k] : -1);
  count_.push_back(count);
  element_.push_back(element);
}

// Vectors in their order, the frame, and the vectors in it.
void Clusters::take_cell(const Lattice& lattice) {
  PairSpace& s = space_;
  double given[3][3], length[3];
  int order[3] = {0, 1, 2};
  for (int a = 0; a < 3; ++a) {
    lattice.shift(a == 0, a == 1, a == 2, given[a]);
    length[a] = std::sqrt(dot(given[a], given[a]));
  }
  std::stable_sort(order, order + 3, [&](int a, int b) {
    return std::pair(!lattice.axis[a], length[a]) < std::pair(!lattice.axis[b], length[b]);
  });
  for (int a = 0; a < 3; ++a) {
    for (int x = 0; x < 3; ++x) {
      frame_[a][x] = s.cell[a][x] = given[order[a]][x];
      s.lower[a][x] = 0.0;
    }
    for (int b = 0; b < a; ++b) {
      s.lower[a][b] = dot(s.cell[a], frame_[b]);
      for (int x = 0; x < 3; ++x) frame_[a][x] -= s.lower[a][b] * frame_[b][x];
    }
    s.lower[a][a] = std::sqrt(dot(frame_[a], frame_[a]));
    s.inverse[a] = 1.0 / s.lower[a][a];
    for (double& x : frame_[a]) x *= s.inverse[a];
  }
}

// Into the brick that the diagonal of `lower` spans: compact however skewed the cell is.
void Clusters::wrap(double* position) const {
  for (int a = space_.axes - 1; a >= 0; --a) {
    const double n = std::floor(dot(position, frame_[a]) * space_.inverse[a]);
    for (int x = 0; x < 3; ++x) position[x] -= n * space_.cell[a][x];
  }
}

// A box around each cluster.
void Clusters::enclose(double reach) {
  const int64_t clusters = static_cast<int64_t>(count_.size());
  double images = 0.5 * static_cast<double>(clusters * clusters);
  for (int a = 0; a < space_.axes; ++a) images *= 2.0 * reach * space_.inverse[a] + 1.0;
  if (images > kMostImages)
    fail(FORCEGATE_TOO_LARGE, "%g images of %zu atoms within %g Å", images, order_.size(), reach);
  center_.resize(3 * clusters);
  half_.resize(3 * clusters);
  for (int64_t c = 0; c < clusters; ++c)
    for (int a = 0; a < 3; ++a) {
      double low = INFINITY, high = -INFINITY;
      for (int k = 0; k < count_[c]; ++k) {
        const double at = dot(&wrapped_[3 * atom_[kCluster * c + k]], frame_[a]);
        low = std::min(low, at);
        high = std::max(high, at);
      }
      center_[3 * c + a] = 0.5 * (low + high);
      half_[3 * c + a] = 0.5 * (high - low);
    }
}

PairSpace Clusters::view() const {
  PairSpace view = space_;
  view.clusters = static_cast<int64_t>(count_.size());
  view.positions = positions_.data();
  view.atom = atom_.data();
  view.count = count_.data();
  view.element = element_.data();
  view.center = center_.data();
  view.half = half_.data();
  return view;
}

}  // namespace forcegate
