// FIRE (Bitzek et al. 2006, doi:10.1103/PhysRevLett.97.170201), along the paths of ASE's: masses of
// 1 u, times in Å √(u/eV), and a longest step for all atoms of a structure together.
#include "relaxation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "evaluate.h"
#include "failure.h"
#include "gate.h"

namespace forcegate {

namespace {

constexpr double kFirstStep = 0.1, kLongestStep = 1.0, kFaster = 1.1, kSlower = 0.5;
constexpr double kFirstMixing = 0.1, kLessMixing = 0.99;
constexpr double kFarthest = 0.2;  // Å, of all atoms together
constexpr int kPatience = 5;

double dot(const std::vector<double>& a, const double* b) {
  double sum = 0.0;
  for (size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}

// One structure and its FIRE.
struct Walker {
  int64_t structure, first, atoms;
  std::vector<double> velocity;
  forcegate_fire fire;

  // Moves x [3 atoms] along f [3 atoms].
  void walk(double* x, const double* f) {
    std::vector<double>& v = velocity;
    auto& [step, mixing, downhill, started] = fire;
    const double power = dot(v, f);
    if (started && power > 0.0) {
      double squared = 0.0;
      for (size_t k = 0; k < v.size(); ++k) squared += f[k] * f[k];
      const double turn = mixing * std::sqrt(dot(v, v.data())) / std::sqrt(squared);
      for (size_t k = 0; k < v.size(); ++k) v[k] = (1.0 - mixing) * v[k] + turn * f[k];
      if (downhill > kPatience) {
        step = std::min(step * kFaster, kLongestStep);
        mixing *= kLessMixing;
      }
      ++downhill;
    } else if (started) {
      std::fill(v.begin(), v.end(), 0.0);
      mixing = kFirstMixing;
      step *= kSlower;
      downhill = 0;
    }
    started = 1;
    for (size_t k = 0; k < v.size(); ++k) v[k] += step * f[k];
    const double length = step * std::sqrt(dot(v, v.data()));
    const double scale = length > kFarthest ? kFarthest / length : 1.0;
    for (size_t k = 0; k < v.size(); ++k) x[k] += scale * step * v[k];
  }
};

// Those that still move, as a batch of their own.
class Moving {
 public:
  Moving(const forcegate_structures& all, const std::vector<Walker>& walkers) : batch_{} {
    for (const Walker& w : walkers) {
      n_atoms_.push_back(w.atoms);
      for (int64_t i = w.first; i < w.first + w.atoms; ++i) numbers_.push_back(all.atomic_numbers[i]);
      if (all.cells) cells_.insert(cells_.end(), all.cells + 9 * w.structure,
                                   all.cells + 9 * w.structure + 9);
      if (all.pbc) pbc_.insert(pbc_.end(), all.pbc + 3 * w.structure, all.pbc + 3 * w.structure + 3);
    }
    const auto count = static_cast<int64_t>(numbers_.size());
    positions_.resize(3 * count);
    forces_.resize(3 * count);
    batch_.n_structures = static_cast<int64_t>(walkers.size());
    batch_.total_atoms = count;
    batch_.n_atoms = n_atoms_.data();
    batch_.atomic_numbers = numbers_.data();
    batch_.positions = positions_.data();
    batch_.cells = all.cells ? cells_.data() : nullptr;
    batch_.pbc = all.pbc ? pbc_.data() : nullptr;
  }

  // Forces at `positions` [N, 3] of all, those of one walker after the other.
  const std::vector<double>& forces(const forcegate_model& model, const double* positions,
                                    const std::vector<Walker>& walkers, int32_t threads) {
    double* to = positions_.data();
    for (const Walker& w : walkers)
      to = std::copy_n(positions + 3 * w.first, 3 * w.atoms, to);
    forcegate_answers asked{};
    asked.forces = forces_.data();
    try {
      evaluate(model, batch_, asked, threads);
    } catch (Failure& failure) {
      if (failure.structure >= 0) failure.structure = walkers[failure.structure].structure;
      throw;
    }
    return forces_;
  }

 private:
  forcegate_structures batch_;
  std::vector<int64_t> n_atoms_, numbers_;
  std::vector<double> positions_, cells_, forces_;
  std::vector<uint8_t> pbc_;
};

void check(const forcegate_structures& s, const forcegate_relaxation& r) {
  if (s.n_structures > 0 && (!r.force || !r.most_steps || !r.steps || !r.converged))
    fail(FORCEGATE_BAD_ARGUMENT, "no force, most_steps, steps or converged; expected all four");
  if (!r.velocities != !r.fires)
    fail(FORCEGATE_BAD_ARGUMENT, "velocities without fires, or the other way; expected both");
  for (int64_t b = 0; b < s.n_structures; ++b) {
    if (!(r.force[b] >= 1e-6 && r.force[b] <= 1e3))
      fail(FORCEGATE_BAD_ARGUMENT, "a largest force of %g eV/Å; expected 1e-6 to 1000", r.force[b]);
    if (r.most_steps[b] < 0)
      fail(FORCEGATE_BAD_ARGUMENT, "%lld steps; expected 0 or more",
           static_cast<long long>(r.most_steps[b]));
    if (!r.fires) continue;
    const forcegate_fire& fire = r.fires[b];
    if (fire.started && !(fire.step > 0.0 && fire.step <= kLongestStep && fire.mixing >= 0.0 &&
                          fire.mixing <= kFirstMixing && fire.downhill >= 0))
      fail(FORCEGATE_BAD_ARGUMENT, "a FIRE with steps of %g and a mixing of %g; expected one that "
           "was written here", fire.step, fire.mixing);
  }
  for (int64_t k = 0; k < 3 * s.total_atoms; ++k) {
    if (r.velocities && !(std::fabs(r.velocities[k]) <= 1e6))
      fail(FORCEGATE_BAD_ARGUMENT, "a velocity of %g; expected at most 1e6", r.velocities[k]);
    if (r.forces && !(std::fabs(r.forces[k]) <= 1e6))
      fail(FORCEGATE_BAD_ARGUMENT, "a force of %g; expected at most 1e6", r.forces[k]);
  }
}

}  // namespace

void relax(const forcegate_model& model, const forcegate_structures& structures,
           forcegate_relaxation& r, const forcegate_answers& answers, int32_t threads) {
  forcegate_structures all = structures;
  all.positions = r.positions;
  check_sizes(all);
  check(all, r);
  // All that can be wrong with the structures is found before the first one moves.
  std::vector<int32_t> element;
  const std::vector<int64_t> first_atom = forcegate::check(model, all, answers, threads, element);
  std::vector<Walker> walkers;
  for (int64_t b = 0; b < all.n_structures; ++b) {
    const int64_t first = first_atom[b], atoms = first_atom[b + 1] - first;
    const bool goes_on = r.fires && r.fires[b].started;
    std::vector<double> velocity(3 * atoms);
    if (goes_on) std::copy_n(r.velocities + 3 * first, 3 * atoms, velocity.begin());
    walkers.push_back({b, first, atoms, std::move(velocity),
                       goes_on ? r.fires[b] : forcegate_fire{kFirstStep, kFirstMixing, 0, 0}});
    r.steps[b] = 0;
    r.converged[b] = 0;
  }
  // Forces of all, where nobody has left and nobody can take another step: the answers are there.
  const auto out_of_steps = [&] {
    if (static_cast<int64_t>(walkers.size()) < all.n_structures || !answers.forces) return false;
    for (const Walker& w : walkers)
      if (r.steps[w.structure] < r.most_steps[w.structure]) return false;
    return true;
  };
  bool known = r.forces && all.total_atoms > 0, answered = false;
  while (!walkers.empty()) {
    Moving moving(all, walkers);
    const size_t before = walkers.size();
    while (walkers.size() == before) {
      std::vector<double> forces;
      if ((answered = out_of_steps())) {
        evaluate(model, all, answers, threads);
        forces.assign(answers.forces, answers.forces + 3 * all.total_atoms);
      } else if (known) {
        forces.assign(r.forces, r.forces + 3 * all.total_atoms);
      } else {
        forces = moving.forces(model, r.positions, walkers, threads);
      }
      known = false;
      double* f = forces.data();
      std::vector<Walker> rest;
      rest.reserve(before);
      for (Walker& w : walkers) {
        double largest = 0.0;
        for (int64_t i = 0; i < w.atoms; ++i) {
          double* on = f + 3 * i;
          if (r.fixed && r.fixed[w.first + i]) on[0] = on[1] = on[2] = 0.0;
          largest = std::max(largest, on[0] * on[0] + on[1] * on[1] + on[2] * on[2]);
        }
        f += 3 * w.atoms;
        const int64_t b = w.structure;
        r.converged[b] = largest < r.force[b] * r.force[b];
        if (!r.converged[b] && r.steps[b] < r.most_steps[b]) {
          w.walk(r.positions + 3 * w.first, f - 3 * w.atoms);
          ++r.steps[b];
          rest.push_back(std::move(w));
        } else if (r.fires) {
          std::copy(w.velocity.begin(), w.velocity.end(), r.velocities + 3 * w.first);
          r.fires[b] = w.fire;
        }
      }
      walkers = std::move(rest);
    }
  }
  if (!answered) evaluate(model, all, answers, threads);
}

}  // namespace forcegate
