// The sum over all pairs of one structure, in parts that threads may share.
//
// Each part takes some rows of the triangle of pairs, and adds to forces and potentials of its own,
// which are summed in order at the end: how a structure is cut depends on its atoms alone, and the
// result on nothing else.
#pragma once

#include "memory.h"
#include "pair_functions.h"

namespace forcegate::FORCEGATE_KERNEL {

typedef double Four __attribute__((vector_size(32)));
typedef double LooseFour __attribute__((vector_size(32), aligned(8), may_alias));

class PairField {
 public:
  // `positions` [atoms, 3] and `element` [atoms] of the structure.
  PairField(const Physics& physics, const PairSpace& space, int64_t atoms, const double* positions,
            const int32_t* element, Memory& memory);

  int64_t parts() const { return parts_; }
  // The charges [atoms] by which the parts are to be summed.
  void prepare(const float* charge);
  void part(int64_t p);
  // Adds to energy, forces [atoms, 3] and virial [9]; writes the potential [atoms] at each atom.
  void collect(double& energy, double* forces, double* virial, float* potential) const;

 private:
  static constexpr int64_t kMostParts = 32, kLeastRowsOfPart = 64;
  void row(int64_t i, Four* sums, double* total) const;

  const Physics& physics_;
  const PairSpace& space_;
  const int64_t atoms_;
  const double* positions_;
  const int32_t* element_;
  int64_t parts_;
  double* charge_;  // [atoms]
  Four* sums_;      // [parts, atoms]: force and potential
  double* totals_;  // [parts, 7]: energy and six of the virial
};

// Up to kSize pairs of one atom, a multiple of a vector.
struct Block {
  static constexpr int kSize = 64;
  double d[3][kSize];
  double charge[kSize];
  double column[kVectorColumns][kSize];  // of PairTable
  int32_t atom[kSize], element[kSize];
};

inline PairField::PairField(const Physics& physics, const PairSpace& space, int64_t atoms,
                            const double* positions, const int32_t* element, Memory& memory)
    : physics_(physics), space_(space), atoms_(atoms), positions_(positions), element_(element) {
  const int64_t most = (atoms + kLeastRowsOfPart - 1) / kLeastRowsOfPart;
  parts_ = most < kMostParts ? most : kMostParts;
  charge_ = memory.take<double>(atoms);
  sums_ = memory.take<Four>(parts_ * atoms);
  totals_ = memory.take<double>(7 * parts_);
}

inline void PairField::prepare(const float* charge) {
  for (int64_t i = 0; i < atoms_; ++i) charge_[i] = charge[i];
}

// One block: distances, functions, and what they add to both atoms.
inline void finish(const Physics& physics, const PairTable& table, Block& block, int count,
                   double charge, bool ended, Four* sums, Four& own, Doubles total[7]) {
  const double* columns[kVectorColumns];
  for (int k = 0; k < kVectorColumns; ++k) columns[k] = block.column[k];
  // The rest of the last vector: far away, and without charge and dispersion.
  for (int k = count; k % kDoubles; ++k) {
    for (int x = 0; x < 3; ++x) block.d[x][k] = 1e3;
    block.charge[k] = 0.0;
    for (int c = 0; c < kVectorColumns; ++c) block.column[c][k] = 0.0;
    block.column[0][k] = block.column[3][k] = block.column[4][k] = 1.0;
  }
  for (int at = 0; at < count; at += kDoubles) {
    const Doubles dx = load(block.d[0] + at), dy = load(block.d[1] + at);
    const Doubles dz = load(block.d[2] + at), q = load(block.charge + at);
    const Doubles r = root(dx * dx + dy * dy + dz * dz + kDistanceEpsilon);
    EightPairs p = pair_functions(physics, r, columns, at, ended);
    const Doubles reach = load(block.column[kReachColumn] + at);
    const Longs close = r < reach;
    if (close[0] | close[1] | close[2] | close[3] | close[4] | close[5] | close[6] | close[7])
      for (int k = 0; k < kDoubles; ++k)
        if (close[k]) {
          double energy = p.energy[k], slope = p.slope[k];
          const int32_t other = block.element[at + k];
          core(physics, r[k], reach[k], table.core_charge[other], table.core_rate[other], energy,
               slope);
          p.energy[k] = energy;
          p.slope[k] = slope;
        }
    const Doubles product = charge * q;
    const Doubles along = (product * p.kernel_slope + p.slope) / r;
    const Doubles fx = along * dx, fy = along * dy, fz = along * dz;
    const Doubles at_own = p.kernel * q, at_other = p.kernel * charge;
    total[0] += product * p.kernel + p.energy;
    total[1] += dx * fx;
    total[2] += dy * fy;
    total[3] += dz * fz;
    total[4] += dx * fy;
    total[5] += dx * fz;
    total[6] += dy * fz;
    own += Four{sum(fx), sum(fy), sum(fz), sum(at_own)};
    const int here = count - at < kDoubles ? count - at : kDoubles;
    for (int k = 0; k < here; ++k) {
      LooseFour* to = reinterpret_cast<LooseFour*>(sums + block.atom[at + k]);
      *to += Four{-fx[k], -fy[k], -fz[k], at_other[k]};
    }
  }
}

inline void PairField::row(int64_t i, Four* sums, double* total_out) const {
  Block block;
  const PairTable& table = physics_.table[element_[i]];
  const double* const* from = reinterpret_cast<const double* const*>(&table);
  const double* home = positions_ + 3 * i;
  const double most = physics_.cutoff * physics_.cutoff;
  Four own = Four{};
  Doubles total[7] = {};
  int count = 0;
  const int32_t box = space_.box ? space_.box[i] : 0;
  for (int64_t k = space_.first_range[box]; k < space_.first_range[box + 1]; ++k) {
    Range range = space_.ranges[k];
    // Open structures list their atoms in order.
    if (!space_.periodic && range.begin <= i) range.begin = i + 1;
    for (int64_t c = range.begin; c < range.end; ++c) {
      const double dx = space_.x[c] - home[0], dy = space_.y[c] - home[1],
                   dz = space_.z[c] - home[2];
      if (space_.periodic &&
          (space_.rank[c] <= 2 * i || dx * dx + dy * dy + dz * dz >= most))
        continue;
      const int32_t j = space_.periodic ? space_.atom[c] : static_cast<int32_t>(c);
      block.d[0][count] = dx;
      block.d[1][count] = dy;
      block.d[2][count] = dz;
      block.charge[count] = charge_[j];
      const int32_t other = element_[j];
      for (int column = 0; column < kOpenColumns; ++column) block.column[column][count] = from[column][other];
      for (int column = kOpenColumns; space_.periodic && column < kEndedColumns; ++column)
        block.column[column][count] = from[column][other];
      block.column[kReachColumn][count] = table.core_reach[other];
      block.atom[count] = j;
      block.element[count] = other;
      if (++count == Block::kSize) {
        finish(physics_, table, block, count, charge_[i], space_.periodic, sums, own, total);
        count = 0;
      }
    }
  }
  if (count) finish(physics_, table, block, count, charge_[i], space_.periodic, sums, own, total);
  sums[i] += own;
  for (int k = 0; k < 7; ++k) total_out[k] += sum(total[k]);
}

inline void PairField::part(int64_t p) {
  Four* sums = sums_ + p * atoms_;
  double* total = totals_ + 7 * p;
  std::memset(static_cast<void*>(sums), 0, atoms_ * sizeof(Four));
  std::memset(total, 0, 7 * sizeof(double));
  for (int64_t i = atoms_ * p / parts_; i < atoms_ * (p + 1) / parts_; ++i) row(i, sums, total);
}

inline void PairField::collect(double& energy, double* forces, double* virial,
                               float* potential) const {
  // A charge with itself: what the end of the pairs leaves out of a neutral whole sits there
  // (doi:10.1063/1.478738).
  const double self = space_.periodic ? -physics_.coulomb / physics_.cutoff : 0.0;
  for (int64_t i = 0; i < atoms_; ++i) {
    Four sum = sums_[i];
    for (int64_t p = 1; p < parts_; ++p) sum += sums_[p * atoms_ + i];
    for (int x = 0; x < 3; ++x) forces[3 * i + x] += sum[x];
    potential[i] = static_cast<float>(sum[3] + self * charge_[i]);
    energy += 0.5 * self * charge_[i] * charge_[i];
  }
  double total[7] = {};
  for (int64_t p = 0; p < parts_; ++p)
    for (int k = 0; k < 7; ++k) total[k] += totals_[7 * p + k];
  energy += total[0];
  constexpr int kPlace[9] = {1, 4, 5, 4, 2, 6, 5, 6, 3};
  for (int k = 0; k < 9; ++k) virial[k] -= total[kPlace[k]];
}

}  // namespace forcegate::FORCEGATE_KERNEL
