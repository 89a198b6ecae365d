#include "neighbors.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "failure.h"

namespace forcegate {

namespace {

// No structure of atoms that keep a distance comes near these.
constexpr int64_t kMostNeighbors = 4096;
constexpr int64_t kMostEdges = int64_t{1} << 26, kMostCopies = int64_t{1} << 23;
constexpr double kMostImages = 2e8;
// In fractions of the cell, and in Å; wider than any rounding, so that no copy is lost to it.
constexpr double kMargin = 1e-9, kLoose = 1e-6;
// Numbers of boxes along an axis must fit into 21 bits.
constexpr double kMostBoxes = 1 << 20;

}  // namespace

void Space::fill(const double* positions, int64_t atoms, const Lattice& lattice, double reach,
                 int boxes) {
  periodic = lattice.periodic();
  for (auto* column : {&x, &y, &z, &shift}) column->clear();
  atom.clear();
  rank.clear();
  box.clear();
  self.resize(atoms);
  ranges.clear();
  first_range.clear();
  if (periodic)
    copies(positions, atoms, lattice, reach);
  else
    for (int64_t i = 0; i < atoms; ++i) {
      x.push_back(positions[3 * i]);
      y.push_back(positions[3 * i + 1]);
      z.push_back(positions[3 * i + 2]);
      atom.push_back(static_cast<int32_t>(i));
      self[i] = i;
    }
  if (boxes || periodic) {
    sort_into_boxes(positions, atoms, reach, std::max(boxes, 1));
  } else {
    ranges.push_back({0, atoms});
    first_range = {0, 1};
  }
}

void Space::copies(const double* positions, int64_t atoms, const Lattice& lattice, double reach) {
  double margin[3], low[3], high[3], images = 1.0;
  int most[3];
  std::vector<double> fraction(3 * atoms);
  for (int64_t i = 0; i < atoms; ++i) lattice.fractions(positions + 3 * i, &fraction[3 * i]);
  for (int a = 0; a < 3; ++a) {
    margin[a] = reach * lattice.inverse_height[a] + kMargin;
    most[a] = lattice.axis[a] ? static_cast<int>(std::ceil(margin[a])) : 0;
    images *= 2.0 * most[a] + 1.0;
    low[a] = high[a] = fraction[a];
    for (int64_t i = 1; i < atoms; ++i) {
      low[a] = std::min(low[a], fraction[3 * i + a]);
      high[a] = std::max(high[a], fraction[3 * i + a]);
    }
  }
  if (images * static_cast<double>(atoms) > kMostImages)
    fail(FORCEGATE_TOO_LARGE, "%g images of %lld atoms within %g Å", images,
         static_cast<long long>(atoms), reach);
  for (int a = -most[0]; a <= most[0]; ++a)
    for (int b = -most[1]; b <= most[1]; ++b)
      for (int c = -most[2]; c <= most[2]; ++c) {
        const int image[3] = {a, b, c};
        const bool home = !a && !b && !c;
        const bool ahead = a > 0 || (a == 0 && (b > 0 || (b == 0 && c > 0)));
        double by[3];
        lattice.shift(a, b, c, by);
        for (int64_t i = 0; i < atoms; ++i) {
          bool near = true;
          for (int k = 0; k < 3; ++k) {
            const double f = fraction[3 * i + k] + image[k];
            near = near && f >= low[k] - margin[k] && f <= high[k] + margin[k];
          }
          if (!near) continue;
          if (home) self[i] = static_cast<int64_t>(x.size());
          x.push_back(positions[3 * i] + by[0]);
          y.push_back(positions[3 * i + 1] + by[1]);
          z.push_back(positions[3 * i + 2] + by[2]);
          shift.insert(shift.end(), by, by + 3);
          atom.push_back(static_cast<int32_t>(i));
          rank.push_back(2 * i + ahead);
        }
        if (static_cast<int64_t>(x.size()) > kMostCopies)
          fail(FORCEGATE_TOO_LARGE, "more than %lld images of %lld atoms within %g Å",
               static_cast<long long>(kMostCopies), static_cast<long long>(atoms), reach);
      }
}

void Space::sort_into_boxes(const double* positions, int64_t atoms, double reach, int boxes) {
  const int64_t n = static_cast<int64_t>(x.size());
  double origin[3], span = 0.0;
  for (int a = 0; a < 3; ++a) {
    double low = positions[a], high = low;
    for (int64_t i = 1; i < atoms; ++i) {
      low = std::min(low, positions[3 * i + a]);
      high = std::max(high, positions[3 * i + a]);
    }
    origin[a] = low;
    span = std::max(span, high - low);
  }
  const double width = std::max((reach + kLoose) / boxes, span / kMostBoxes);
  // Room on all sides for what is within reach, and for the boxes around that.
  const double margin = 3.0 * std::max(reach, width);
  for (double& low : origin) low -= margin;
  const double extent = span + 2.0 * margin;
  const auto number = [&](double at, int a) {
    const double step = std::floor((at - origin[a]) / width);
    // Images farther away than the reach share the boxes at the border.
    return static_cast<uint64_t>(std::clamp(step, 0.0, extent / width + 1.0));
  };
  constexpr uint64_t kX = uint64_t{1} << 42, kY = uint64_t{1} << 21;
  std::vector<std::pair<uint64_t, int32_t>> order(n);
  for (int64_t c = 0; c < n; ++c)
    order[c] = {number(x[c], 0) * kX + number(y[c], 1) * kY + number(z[c], 2),
                static_cast<int32_t>(c)};
  const auto sorted = [&](const auto& values, int64_t columns) {
    auto result = values;
    for (int64_t c = 0; c < n && !values.empty(); ++c)
      for (int64_t k = 0; k < columns; ++k)
        result[columns * c + k] = values[columns * order[c].second + k];
    return result;
  };
  std::vector<std::pair<uint64_t, int32_t>> homes(atoms);
  for (int64_t i = 0; i < atoms; ++i)
    homes[i] = {order[self[i]].first, static_cast<int32_t>(i)};
  std::sort(order.begin(), order.end());
  std::sort(homes.begin(), homes.end());
  x = sorted(x, 1);
  y = sorted(y, 1);
  z = sorted(z, 1);
  shift = sorted(shift, 3);
  atom = sorted(atom, 1);
  rank = sorted(rank, 1);
  std::vector<int64_t> place(n);
  for (int64_t c = 0; c < n; ++c) place[order[c].second] = c;
  for (int64_t i = 0; i < atoms; ++i) self[i] = place[self[i]];
  const auto from = [&](uint64_t key) {
    return std::lower_bound(order.begin(), order.end(), std::pair(key, int32_t{0})) -
           order.begin();
  };
  box.resize(atoms);
  first_range.push_back(0);
  for (int64_t k = 0; k < atoms; ++k) {
    const uint64_t key = homes[k].first;
    if (k == 0 || key != homes[k - 1].first) {
      for (int a = -boxes; a <= boxes; ++a)
        for (int b = -boxes; b <= boxes; ++b) {
          const uint64_t middle = key + a * kX + b * kY;
          const Range run{from(middle - boxes), from(middle + boxes + 1)};
          if (run.begin < run.end) ranges.push_back(run);
        }
      first_range.push_back(static_cast<int64_t>(ranges.size()));
    }
    box[homes[k].second] = static_cast<int32_t>(first_range.size()) - 2;
  }
}

void find_edges(const Space& space, const double* positions, double cutoff, int64_t begin,
                int64_t end, int64_t first, Edges& edges) {
  const double most = cutoff * cutoff, loose = (cutoff + kLoose) * (cutoff + kLoose);
  // Copies that may be near one atom; with room for one that is not.
  int64_t near[kMostNeighbors + 3];
  for (int64_t i = begin; i < end; ++i) {
    const double* home = positions + 3 * i;
    const int32_t box = space.box.empty() ? 0 : space.box[i];
    int64_t count = 0;
    for (int64_t k = space.first_range[box]; k < space.first_range[box + 1]; ++k)
      for (int64_t c = space.ranges[k].begin; c < space.ranges[k].end; ++c) {
        const double dx = space.x[c] - home[0], dy = space.y[c] - home[1],
                     dz = space.z[c] - home[2];
        // No branch: whether an atom is near is as good as random.
        near[count] = c;
        count += dx * dx + dy * dy + dz * dz < loose;
        if (count > kMostNeighbors + 1)
          fail(FORCEGATE_TOO_LARGE, "atom %lld has more than %lld neighbors within %g Å",
               static_cast<long long>(i), static_cast<long long>(kMostNeighbors), cutoff);
      }
    const int64_t before = edges.size;
    if (before + count > kMostEdges)
      fail(FORCEGATE_TOO_LARGE, "more than %lld neighbors of all atoms together",
           static_cast<long long>(kMostEdges));
    edges.make_room(count);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t c = near[k];
      if (c == space.self[i]) continue;
      // The same again, rounded alike in both directions.
      const int32_t j = space.atom[c];
      double d[3], squared = 0.0;
      for (int a = 0; a < 3; ++a) {
        d[a] = positions[3 * j + a] - home[a];
        if (space.periodic) d[a] += space.shift[3 * c + a];
        squared += d[a] * d[a];
      }
      if (squared >= most) continue;
      edges.neighbor[edges.size] = static_cast<int32_t>(first + j);
      for (int a = 0; a < 3; ++a) edges.vector[3 * edges.size + a] = d[a];
      ++edges.size;
    }
    edges.count.push_back(edges.size - before);
  }
}

}  // namespace forcegate
