// Velocity Verlet, and BAOAB (Leimkuhler and Matthews 2013, doi:10.1063/1.4802990), which is the
// same with a thermostat in the middle of the step.
#include "dynamics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "evaluate.h"
#include "failure.h"
#include "gate.h"
#include "philox.h"

namespace forcegate {

namespace {

// 1 eV/u in (Å/fs)², and Boltzmann's constant in eV/K (CODATA 2018).
constexpr double kAcceleration = 9.648533212331e-3;
constexpr double kBoltzmann = 8.617333262145e-5;
constexpr int64_t kMostSteps = int64_t{1} << 62;

void check(const forcegate_structures& s, const forcegate_dynamics& d, const forcegate_motion& m) {
  const auto number = [](const char* name, double value, double least, double most) {
    if (!(value >= least && value <= most))
      fail(FORCEGATE_BAD_ARGUMENT, "%s %g; expected %g to %g", name, value, least, most);
  };
  if (d.steps < 0 || d.steps > kMostSteps)
    fail(FORCEGATE_BAD_ARGUMENT, "steps %lld; expected a number from 0 on",
         static_cast<long long>(d.steps));
  if (s.n_structures > 0 && !d.ensembles)
    fail(FORCEGATE_BAD_ARGUMENT, "no ensembles; expected one for each structure");
  for (int64_t b = 0; b < s.n_structures; ++b) {
    const forcegate_ensemble& e = d.ensembles[b];
    number("timestep", e.timestep, 1e-4, 100.0);
    number("temperature", e.temperature, 0.0, 1e6);
    number("friction", e.friction, 0.0, 1e3);
    if (e.start_step < 0 || e.start_step > kMostSteps)
      fail(FORCEGATE_BAD_ARGUMENT, "start_step %lld; expected a number from 0 on",
           static_cast<long long>(e.start_step));
  }
  if (s.total_atoms > 0 && (!m.velocities || !d.masses))
    fail(FORCEGATE_BAD_ARGUMENT, "no velocities or masses; expected both");
  for (int64_t i = 0; i < s.total_atoms; ++i) {
    number("mass", d.masses[i], 1e-3, 1e6);
    for (int x = 0; x < 3; ++x) number("velocity", m.velocities[3 * i + x], -1e3, 1e3);
    for (int x = 0; m.forces && x < 3; ++x) number("force", m.forces[3 * i + x], -1e6, 1e6);
  }
}

}  // namespace

void integrate(const forcegate_model& model, const forcegate_structures& structures,
               const forcegate_dynamics& d, forcegate_motion& motion,
               const forcegate_answers& answers, int32_t threads) {
  motion.steps_done = 0;
  forcegate_structures now = structures;
  now.positions = motion.positions;
  check_sizes(now);
  check(structures, d, motion);
  const int64_t n = structures.total_atoms;
  std::vector<double> x(motion.positions, motion.positions + 3 * n);
  std::vector<double> v(motion.velocities, motion.velocities + 3 * n);
  std::vector<double> forces(3 * n);
  now.positions = x.data();
  // Between the first step and the last nobody reads more than forces.
  forcegate_answers passing{};
  passing.forces = forces.data();
  forcegate_answers last = answers;
  last.forces = forces.data();
  if (d.steps && motion.forces && n) {
    // Nothing is evaluated before the first step, which relies on what is looked at here.
    std::vector<int32_t> element;
    check(model, now, passing, threads, element);
    std::copy_n(motion.forces, 3 * n, forces.begin());
  } else {
    evaluate(model, now, d.steps ? passing : last, threads);
  }

  // What moves, atom by atom: a fixed one has no acceleration and no velocity.
  std::vector<double> half(n), push(n);
  int64_t atom = 0;
  for (int64_t b = 0; b < structures.n_structures; ++b)
    for (int64_t a = 0; a < structures.n_atoms[b]; ++a, ++atom) {
      const bool free = !(d.fixed && d.fixed[atom]);
      half[atom] = 0.5 * d.ensembles[b].timestep;
      push[atom] = free ? half[atom] * kAcceleration / d.masses[atom] : 0.0;
      for (int c = 0; c < 3 && !free; ++c) v[3 * atom + c] = 0.0;
    }
  const auto kick = [&] {
    for (int64_t k = 0; k < 3 * n; ++k) v[k] += push[k / 3] * forces[k];
  };
  const auto drift = [&] {
    for (int64_t k = 0; k < 3 * n; ++k) x[k] += half[k / 3] * v[k];
  };
  const auto renew = [&](int64_t step) {
    int64_t i = 0;
    for (int64_t b = 0; b < structures.n_structures; ++b) {
      const forcegate_ensemble& e = d.ensembles[b];
      if (!(e.friction > 0.0)) {
        i += structures.n_atoms[b];
        continue;
      }
      const double keep = std::exp(-e.friction * e.timestep), lost = std::sqrt(1.0 - keep * keep);
      for (int64_t a = 0; a < structures.n_atoms[b]; ++a, ++i) {
        if (d.fixed && d.fixed[i]) continue;
        const auto noise = normals(e.seed, static_cast<uint64_t>(e.start_step + step), e.stream,
                                   static_cast<uint32_t>(a));
        const double width =
            lost * std::sqrt(kBoltzmann * e.temperature * kAcceleration / d.masses[i]);
        for (int c = 0; c < 3; ++c) v[3 * i + c] = keep * v[3 * i + c] + width * noise[c];
      }
    }
  };
  for (int64_t step = 0; step < d.steps; ++step) {
    kick();
    drift();
    renew(step);
    drift();
    evaluate(model, now, step + 1 < d.steps ? passing : last, threads);
    kick();
    if (n) {
      std::memcpy(motion.positions, x.data(), x.size() * sizeof(double));
      std::memcpy(motion.velocities, v.data(), v.size() * sizeof(double));
    }
    motion.steps_done = step + 1;
  }
  if (answers.forces && n)
    std::memcpy(answers.forces, forces.data(), forces.size() * sizeof(double));
}

}  // namespace forcegate
