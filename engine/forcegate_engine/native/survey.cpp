#include "survey.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "failure.h"
#include "gate.h"
#include "neighbors.h"

namespace forcegate {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLongest = 100.0;  // Å
// Atoms whose edges are listed at a time, so that a large structure needs no large memory.
constexpr int64_t kRows = 256;
// What is kept for the next call is no more than molecules need.
constexpr size_t kKeptCopies = 20'000;

struct Work {
  std::vector<double> positions;
  Space space;
  Edges edges;
};

void check(const forcegate_structures& s, const forcegate_survey_of& asked) {
  const auto length = [](const char* name, double value, double least) {
    if (!(value >= least && value <= kLongest))
      fail(FORCEGATE_BAD_ARGUMENT, "%s %g Å; expected %g to %g", name, value, least, kLongest);
  };
  length("cutoff", asked.cutoff, 0.5);
  length("pair_cutoff", asked.pair_cutoff, 0.0);
  if (asked.n_numbers < 1 || asked.n_numbers > 1000 || !asked.shortest)
    fail(FORCEGATE_BAD_ARGUMENT, "shortest distances of %lld elements; expected 1 to 1000",
         static_cast<long long>(asked.n_numbers));
  check_sizes(s);
}

struct Closest {
  double closeness = kInfinity, squared = kInfinity;
  int64_t atoms[2] = {-1, -1};
};

// Edges of one structure, whose atoms begin at `first`; returns how many there are.
int64_t look(const forcegate_structures& s, const forcegate_survey_of& asked, int64_t first,
             int64_t atoms, Work& work, Closest& closest) {
  int64_t count = 0;
  for (int64_t begin = 0; begin < atoms; begin += kRows) {
    const int64_t end = std::min(begin + kRows, atoms);
    work.edges.clear();
    find_edges(work.space, work.positions.data(), asked.cutoff, begin, end, 0, work.edges);
    count += work.edges.size;
    int64_t e = 0;
    for (int64_t i = begin; i < end; ++i) {
      const double* row = asked.shortest + s.atomic_numbers[first + i] * asked.n_numbers;
      double nearest = kInfinity, isolation = kInfinity;
      for (const int64_t last = e + work.edges.count[i - begin]; e < last; ++e) {
        const double* d = &work.edges.vector[3 * e];
        const double squared = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
        nearest = std::min(nearest, squared);
        const int64_t j = work.edges.neighbor[e];
        const double shortest = row[s.atomic_numbers[first + j]];
        const double closeness = squared / (shortest * shortest);
        isolation = std::min(isolation, closeness);
        if (closeness < closest.closeness) closest = {closeness, squared, {i, j}};
      }
      if (asked.isolation) asked.isolation[first + i] = std::sqrt(isolation);
      if (asked.nearest) asked.nearest[first + i] = std::sqrt(nearest);
    }
  }
  return count;
}

// Pairs of one periodic structure that are nearer than the cutoff, each once.
int64_t count_pairs(const Space& space, const double* positions, int64_t atoms, double cutoff) {
  int64_t count = 0;
  for (int64_t i = 0; i < atoms; ++i) {
    const double* home = positions + 3 * i;
    const int32_t box = space.box[i];
    for (int64_t k = space.first_range[box]; k < space.first_range[box + 1]; ++k)
      for (int64_t c = space.ranges[k].begin; c < space.ranges[k].end; ++c) {
        const double dx = space.x[c] - home[0], dy = space.y[c] - home[1],
                     dz = space.z[c] - home[2];
        count += space.rank[c] > 2 * i && dx * dx + dy * dy + dz * dz < cutoff * cutoff;
      }
  }
  return count;
}

void survey_one(const forcegate_structures& s, const forcegate_survey_of& asked, int64_t b,
                int64_t first, int64_t atoms, Work& work) {
  const Lattice lattice(s.cells ? s.cells + 9 * b : nullptr, s.pbc ? s.pbc + 3 * b : nullptr);
  work.positions.assign(s.positions + 3 * first, s.positions + 3 * (first + atoms));
  double* positions = work.positions.data();
  for (int64_t i = 0; lattice.periodic() && i < atoms; ++i)
    lattice.wrap(positions + 3 * i, positions + 3 * i);
  const bool boxes = lattice.periodic() || atoms > kAllPairsAtoms;
  work.space.fill(positions, atoms, lattice, asked.cutoff, boxes);
  Closest closest;
  const int64_t edges = look(s, asked, first, atoms, work, closest);
  if (asked.edges) asked.edges[b] = edges;
  if (asked.closeness) asked.closeness[b] = std::sqrt(closest.closeness);
  if (asked.distance) asked.distance[b] = std::sqrt(closest.squared);
  if (asked.closest) std::copy_n(closest.atoms, 2, asked.closest + 2 * b);
  if (!asked.pairs) return;
  asked.pairs[b] = asked.pair_cutoff > 0.0 ? atoms * (atoms - 1) / 2 : 0;
  if (asked.pair_cutoff > 0.0 && lattice.periodic()) {
    work.space.fill(positions, atoms, lattice, asked.pair_cutoff, 2);
    asked.pairs[b] = count_pairs(work.space, positions, atoms, asked.pair_cutoff);
  }
}

}  // namespace

void survey(const forcegate_structures& s, const forcegate_survey_of& asked) {
  check(s, asked);
  const auto first_atom = check_structures(s, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (s.atomic_numbers[i] < 0 || s.atomic_numbers[i] >= asked.n_numbers)
        fail(FORCEGATE_UNKNOWN_ELEMENT, "atom %lld of element %lld; expected numbers below %lld",
             static_cast<long long>(i - begin), static_cast<long long>(s.atomic_numbers[i]),
             static_cast<long long>(asked.n_numbers));
  });
  thread_local Work work;
  for (int64_t b = 0; b < s.n_structures; ++b) {
    try {
      survey_one(s, asked, b, first_atom[b], first_atom[b + 1] - first_atom[b], work);
    } catch (Failure& failure) {
      failure.structure = b;
      throw;
    }
  }
  if (work.space.x.capacity() > kKeptCopies) work = Work();
}

}  // namespace forcegate
