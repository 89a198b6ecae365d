// The sum over all pairs of one structure, in parts that threads may share.
//
// Each part takes some clusters, with all that come after them, and adds to forces and potentials
// of its own, which are summed in order at the end: how a structure is cut depends on its atoms
// alone, and the result on nothing else.
#pragma once

#include "images.h"
#include "memory.h"
#include "pair_functions.h"

namespace forcegate::FORCEGATE_KERNEL {

static_assert(kCluster == kDoubles);

// Forces and potential of the atoms of a cluster.
struct Field {
  Doubles force[3], potential;
};

class PairField {
 public:
  PairField(const Physics& physics, const PairSpace& space, Memory& memory);

  int64_t parts() const { return parts_; }
  // The charges [atoms] by which the parts are to be summed.
  void prepare(const float* charge);
  void part(int64_t p);
  // Adds to energy, forces [atoms, 3] and virial [9]; writes the potential [atoms] at each atom.
  void collect(double& energy, double* forces, double* virial, float* potential) const;

 private:
  static constexpr int64_t kMostParts = 32, kLeastOfPart = 8;
  struct Sums {
    Field own[kCluster];  // summed lane by lane
    Doubles energy, virial[6];
  };
  void row(int64_t a, Field* fields, double* totals) const;
  template <bool ENDED>
  void block(int64_t a, int64_t b, const double* shift, bool same, Sums& sums,
             Field* fields) const;

  const Physics& physics_;
  const PairSpace& space_;
  int64_t parts_;
  double* charge_;  // [clusters, kCluster]
  Field* fields_;   // [parts, clusters]
  double* totals_;  // [parts, 7]: energy and six of the virial
};

inline PairField::PairField(const Physics& physics, const PairSpace& space, Memory& memory)
    : physics_(physics), space_(space) {
  const int64_t most = (space.clusters + kLeastOfPart - 1) / kLeastOfPart;
  parts_ = most < kMostParts ? most : kMostParts;
  charge_ = memory.take<double>(space.clusters * kCluster);
  fields_ = memory.take<Field>(parts_ * space.clusters);
  totals_ = memory.take<double>(7 * parts_);
}

inline void PairField::prepare(const float* charge) {
  for (int64_t k = 0; k < space_.clusters * kCluster; ++k)
    charge_[k] = space_.atom[k] < 0 ? 0.0 : charge[space_.atom[k]];
}

// All pairs of a cluster with another or with itself, whose atoms are shifted; of pairs within one
// cluster (`same`), each once.
template <bool ENDED>
void PairField::block(int64_t a, int64_t b, const double* shift, bool same, Sums& sums,
                      Field* fields) const {
  const PairConstants constants =
      physics_.pairs[space_.element[a] * physics_.elements + space_.element[b]];
  const double* home = space_.positions + 3 * kCluster * a;
  Doubles at[3];
  for (int x = 0; x < 3; ++x) at[x] = load(space_.positions + (3 * b + x) * kCluster) + shift[x];
  const Doubles charge = load(charge_ + kCluster * b);
  // Beyond any atom, and short of where none is.
  const double most = ENDED ? physics_.cutoff * physics_.cutoff : 1e16;
  constexpr Longs kLane = {0, 1, 2, 3, 4, 5, 6, 7};
  Field& field = fields[b];
  for (int i = 0; i < space_.count[a]; ++i) {
    const Doubles dx = at[0] - home[i], dy = at[1] - home[kCluster + i],
                  dz = at[2] - home[2 * kCluster + i];
    const Doubles squared = dx * dx + dy * dy + dz * dz;
    Longs counts = squared < most;
    if (same) counts &= kLane > static_cast<int64_t>(i);
    if (!any(counts)) continue;
    const Doubles r = root(squared + kDistanceEpsilon);
    EightPairs p = pair_functions<ENDED>(physics_, constants, r);
    const Longs close = (r < constants.core_reach) & counts;
    if (any(close))
      for (int lane = 0; lane < kDoubles; ++lane)
        if (close[lane]) {
          double energy = p.energy[lane], slope = p.slope[lane];
          core(physics_, r[lane], constants, energy, slope);
          p.energy[lane] = energy;
          p.slope[lane] = slope;
        }
    const Doubles none = Doubles{};
    const double own_charge = charge_[kCluster * a + i];
    const Doubles kernel = counts ? p.kernel : none, product = own_charge * charge;
    const Doubles along = counts ? (product * p.kernel_slope + p.slope) * p.inverse : none;
    const Doubles fx = along * dx, fy = along * dy, fz = along * dz;
    Field& own = sums.own[i];
    own.force[0] += fx;
    own.force[1] += fy;
    own.force[2] += fz;
    own.potential += kernel * charge;
    field.force[0] -= fx;
    field.force[1] -= fy;
    field.force[2] -= fz;
    field.potential += kernel * own_charge;
    sums.energy += product * kernel + (counts ? p.energy : none);
    sums.virial[0] += dx * fx;
    sums.virial[1] += dy * fy;
    sums.virial[2] += dz * fz;
    sums.virial[3] += dx * fy;
    sums.virial[4] += dx * fz;
    sums.virial[5] += dy * fz;
  }
}

inline void PairField::row(int64_t a, Field* fields, double* totals) const {
  Sums sums = {};
  constexpr double kHome[3] = {};
  for (int64_t b = a; b < space_.clusters; ++b) {
    if (!space_.axes) {
      block<false>(a, b, kHome, a == b, sums, fields);
      continue;
    }
    for_images(space_, a, b, physics_.cutoff, [&](const double* shift, int ahead) {
      // Of a cluster and its own images, those to the front have all pairs.
      if (a != b || ahead >= 0)
        block<true>(a, b, shift, a == b && ahead == 0, sums, fields);
    });
  }
  Field& field = fields[a];
  for (int i = 0; i < space_.count[a]; ++i) {
    const Field& own = sums.own[i];
    for (int x = 0; x < 3; ++x) field.force[x][i] += sum(own.force[x]);
    field.potential[i] += sum(own.potential);
  }
  totals[0] += sum(sums.energy);
  for (int k = 0; k < 6; ++k) totals[1 + k] += sum(sums.virial[k]);
}

inline void PairField::part(int64_t p) {
  Field* fields = fields_ + p * space_.clusters;
  double* totals = totals_ + 7 * p;
  std::memset(static_cast<void*>(fields), 0, space_.clusters * sizeof(Field));
  std::memset(totals, 0, 7 * sizeof(double));
  for (int64_t a = space_.clusters * p / parts_; a < space_.clusters * (p + 1) / parts_; ++a)
    row(a, fields, totals);
}

inline void PairField::collect(double& energy, double* forces, double* virial,
                               float* potential) const {
  // A charge with itself: what the end of the pairs leaves out of a neutral whole sits there
  // (doi:10.1063/1.478738).
  const double self = space_.axes ? -physics_.coulomb / physics_.cutoff : 0.0;
  for (int64_t c = 0; c < space_.clusters; ++c) {
    Field sum = fields_[c];
    for (int64_t p = 1; p < parts_; ++p) {
      const Field& more = fields_[p * space_.clusters + c];
      for (int x = 0; x < 3; ++x) sum.force[x] += more.force[x];
      sum.potential += more.potential;
    }
    for (int k = 0; k < space_.count[c]; ++k) {
      const int32_t i = space_.atom[kCluster * c + k];
      const double charge = charge_[kCluster * c + k];
      for (int x = 0; x < 3; ++x) forces[3 * i + x] += sum.force[x][k];
      potential[i] = static_cast<float>(sum.potential[k] + self * charge);
      energy += 0.5 * self * charge * charge;
    }
  }
  double total[7] = {};
  for (int64_t p = 0; p < parts_; ++p)
    for (int k = 0; k < 7; ++k) total[k] += totals_[7 * p + k];
  energy += total[0];
  constexpr int kPlace[9] = {1, 4, 5, 4, 2, 6, 5, 6, 3};
  for (int k = 0; k < 9; ++k) virial[k] -= total[kPlace[k]];
}

}  // namespace forcegate::FORCEGATE_KERNEL
