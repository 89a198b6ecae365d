// Calls the engine's C interface with whatever comes, from several threads at a time, and ends with
// an error if an answer is none. To be compiled with a sanitizer, which ends it for all else.
//
// Arguments: weights of a student, how many calls, a seed, how many threads.
// Prints how many calls ended with each code.
#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "forcegate.h"

namespace {

constexpr int kCodes = FORCEGATE_INTERNAL + 1;
std::array<std::atomic<long>, kCodes> ended;

void end(const char* what, const forcegate_error& error) {
  std::fprintf(stderr, "%s: code %d: %s\n", what, static_cast<int>(error.code), error.text);
  std::abort();
}

class Fuzzer {
 public:
  Fuzzer(forcegate_model* model, const std::string& weights, unsigned seed)
      : model_(model), weights_(weights), random_(seed) {
    forcegate_info info;
    forcegate_error error;
    if (forcegate_describe(model, &info, &error)) end("describe", error);
    elements_.assign(info.elements, info.elements + info.n_elements);
  }

  void call() {
    const int kind = below(20);
    forcegate_error error;
    if (kind == 0) return count(open(&error), error);
    make_structures();
    if (kind < 12) return count(evaluate(&error), error);
    if (kind < 15) return count(integrate(&error), error);
    if (kind < 18) return count(relax(&error), error);
    count(survey(&error), error);
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  bool seldom() { return below(40) == 0; }
  double normal(double width) { return std::normal_distribution<double>(0.0, width)(random_); }

  double strange() {
    constexpr double kStrange[] = {0.0,  -0.0, 1e-300, 1e300, -1e7,
                                   1e-9, 1e6,  -1.0,   0.5,   5.0};
    const int k = below(13);
    if (k == 10) return std::numeric_limits<double>::quiet_NaN();
    if (k == 11) return std::numeric_limits<double>::infinity();
    if (k == 12) return -std::numeric_limits<double>::infinity();
    return kStrange[k];
  }

  template <typename T>
  T* maybe(std::vector<T>& values) {
    return seldom() ? nullptr : values.data();
  }

  // What is as long as it is said to be, with anything in it.
  void make_structures() {
    const int size = below(4);
    n_atoms_.clear();
    int64_t total = 0;
    for (int b = 0; b < size; ++b) {
      n_atoms_.push_back(1 + below(seldom() ? 200 : 9));
      total += n_atoms_.back();
    }
    numbers_.resize(total);
    for (auto& number : numbers_)
      number = seldom() ? static_cast<int64_t>(random_()) - (1 << 30)
                        : elements_[below(static_cast<int>(elements_.size()))];
    positions_.resize(3 * total);
    const double width = std::array{0.02, 1.0, 3.0, 30.0}[below(4)];
    for (auto& x : positions_) x = normal(width);
    if (total && seldom()) positions_[below(static_cast<int>(3 * total))] = strange();
    cells_.assign(9 * size, 0.0);
    for (auto& x : cells_) x = normal(below(2) ? 4.0 : 15.0);
    if (size && seldom()) cells_[below(9 * size)] = strange();
    pbc_.resize(3 * size);
    for (auto& axis : pbc_) axis = static_cast<uint8_t>(below(4) == 0);
    charges_.resize(size);
    for (auto& charge : charges_) charge = seldom() ? strange() : below(3) - 1;
    // Counts that contradict the rest: all that is read must be bounded by total_atoms.
    if (size && seldom()) n_atoms_[below(size)] = std::array{-1, 0, 3, 1 << 30}[below(4)];
    structures_ = {size,           seldom() ? total - total / 2 : total,
                   maybe(n_atoms_), maybe(numbers_),
                   maybe(positions_), maybe(cells_),
                   below(2) ? nullptr : pbc_.data(), below(2) ? nullptr : charges_.data()};
    energy_.assign(size, 0.0);
    forces_.assign(3 * total, 0.0);
    virial_.assign(9 * size, 0.0);
    atomic_.assign(total, 0.0);
    sigma_.assign(size, 0.0);
    novelty_.assign(total, 0.0);
    answers_ = {maybe(energy_), maybe(forces_), maybe(virial_),
                maybe(atomic_), maybe(sigma_),  maybe(novelty_)};
  }

  int32_t open(forcegate_error* error) {
    std::string bytes = weights_;
    if (below(2)) bytes.resize(below(static_cast<int>(bytes.size())));
    // Most of what is checked stands at its begin.
    const int reach = static_cast<int>(std::min<size_t>(bytes.size(), below(2) ? 4000 : 1 << 30));
    for (int k = 1 + below(4); reach && k > 0; --k) bytes[below(reach)] = static_cast<char>(random_());
    const std::vector<char> exact(bytes.begin(), bytes.end());
    forcegate_model* opened = nullptr;
    const int32_t code = forcegate_open(exact.data(), exact.size(),
                                        seldom() ? "abacus" : nullptr, &opened, error);
    forcegate_close(opened);
    return code;
  }

  int32_t evaluate(forcegate_error* error) {
    const int32_t code = forcegate_evaluate(seldom() ? nullptr : model_, &structures_, &answers_,
                                            seldom() ? -7 : below(4), error);
    if (code == FORCEGATE_OK)
      for (const auto* values : {&energy_, &forces_, &virial_, &atomic_, &sigma_, &novelty_})
        for (const double value : *values)
          if (!std::isfinite(value)) end("an answer that is not finite", *error);
    return code;
  }

  int32_t integrate(forcegate_error* error) {
    std::vector<double> velocities(forces_.size()), masses(numbers_.size(), 12.0), known = forces_;
    for (auto& v : velocities) v = normal(0.01);
    if (!masses.empty() && seldom()) masses[0] = strange();
    std::vector<forcegate_ensemble> ensembles;
    for (size_t b = 0; b < n_atoms_.size(); ++b)
      ensembles.push_back({seldom() ? int64_t{1} << 62 : below(9), seldom() ? strange() : 0.5,
                           below(2) ? 0.0 : (seldom() ? strange() : 0.01),
                           seldom() ? strange() : 300.0, random_(), 3, 0});
    std::vector<uint8_t> fixed(numbers_.size());
    for (auto& one : fixed) one = static_cast<uint8_t>(below(4) == 0);
    forcegate_dynamics dynamics{seldom() ? -1 : below(4), seldom() ? nullptr : ensembles.data(),
                                maybe(masses), below(2) ? nullptr : fixed.data()};
    forcegate_motion motion{maybe(positions_), maybe(velocities), below(3) ? nullptr : known.data(),
                            0};
    return forcegate_integrate(model_, &structures_, &dynamics, &motion, &answers_, below(4), error);
  }

  int32_t relax(forcegate_error* error) {
    std::vector<uint8_t> fixed(numbers_.size()), converged(n_atoms_.size());
    for (auto& one : fixed) one = static_cast<uint8_t>(below(4) == 0);
    std::vector<int64_t> steps(n_atoms_.size());
    std::vector<double> force(n_atoms_.size()), velocities(forces_.size()), known = forces_;
    std::vector<int64_t> most(n_atoms_.size());
    std::vector<forcegate_fire> fires(n_atoms_.size());
    for (size_t b = 0; b < n_atoms_.size(); ++b) {
      force[b] = seldom() ? strange() : 0.05;
      most[b] = seldom() ? -1 : below(4);
      fires[b] = {seldom() ? strange() : 0.1, seldom() ? strange() : 0.1, 0, below(2)};
    }
    for (auto& v : velocities) v = seldom() ? strange() : normal(0.01);
    const bool goes_on = below(2);
    forcegate_relaxation relaxation{maybe(force),
                                    maybe(most),
                                    below(2) ? nullptr : fixed.data(),
                                    below(3) ? nullptr : known.data(),
                                    maybe(positions_),
                                    goes_on ? maybe(velocities) : nullptr,
                                    goes_on ? fires.data() : nullptr,
                                    maybe(steps),
                                    maybe(converged)};
    return forcegate_relax(model_, &structures_, &relaxation, &answers_, below(4), error);
  }

  int32_t survey(forcegate_error* error) {
    const int size = 1 + below(60);
    std::vector<double> shortest(static_cast<size_t>(size) * size);
    for (auto& distance : shortest) distance = seldom() && seldom() ? strange() : 1.5;
    const size_t structures = n_atoms_.size(), atoms = numbers_.size();
    std::vector<int64_t> edges(structures), pairs(structures), closest(2 * structures);
    std::vector<double> nearest(atoms), closeness(structures), distance(structures);
    std::vector<double> isolation(atoms);
    forcegate_survey_of asked{};
    asked.cutoff = seldom() ? strange() : 5.0;
    asked.pair_cutoff = below(2) ? 0.0 : seldom() ? strange() : 12.0;
    asked.n_numbers = size;
    asked.shortest = maybe(shortest);
    asked.edges = maybe(edges);
    asked.pairs = maybe(pairs);
    asked.nearest = maybe(nearest);
    asked.closeness = maybe(closeness);
    asked.distance = maybe(distance);
    asked.closest = maybe(closest);
    asked.isolation = maybe(isolation);
    return forcegate_survey(&structures_, &asked, error);
  }

  void count(int32_t code, const forcegate_error& error) {
    if (code < 0 || code >= kCodes || code == FORCEGATE_INTERNAL || code != error.code)
      end("a code that is none", error);
    if (code && !error.text[0]) end("an error without a word", error);
    ++ended[code];
  }

  forcegate_model* model_;
  const std::string& weights_;
  std::mt19937 random_;
  std::vector<int64_t> elements_, n_atoms_, numbers_;
  std::vector<double> positions_, cells_, charges_;
  std::vector<double> energy_, forces_, virial_, atomic_, sigma_, novelty_;
  std::vector<uint8_t> pbc_;
  forcegate_structures structures_{};
  forcegate_answers answers_{};
};

}  // namespace

int main(int, char** arguments) {
  std::ifstream file(arguments[1], std::ios::binary);
  const std::string weights{std::istreambuf_iterator<char>(file), {}};
  const long calls = std::atol(arguments[2]);
  const int threads = std::atoi(arguments[4]);
  forcegate_model* model = nullptr;
  forcegate_error error;
  if (forcegate_open(weights.data(), weights.size(), nullptr, &model, &error)) end("open", error);
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t)
    running.emplace_back([&, t] {
      Fuzzer fuzzer(model, weights, static_cast<unsigned>(std::atoi(arguments[3]) + t));
      for (long k = 0; k < calls / threads; ++k) fuzzer.call();
    });
  for (auto& thread : running) thread.join();
  forcegate_close(model);
  for (int code = 0; code < kCodes; ++code) std::printf("%d %ld\n", code, ended[code].load());
}
