#include "physics.h"

#include <cmath>
#include <numbers>

#include "failure.h"

namespace forcegate {

namespace {

struct Element {
  double width, c6, size, radius, nuclear_charge;
};

std::vector<double> positive(const Safetensors& file, const char* name,
                             const std::vector<int64_t>& shape) {
  std::vector<double> values = file.doubles(name, shape);
  for (const double value : values)
    if (!(value > 0.0 && value < 1e6))
      fail(FORCEGATE_BAD_WEIGHTS, "%s holds %g; expected positive numbers", name, value);
  return values;
}

struct Constants {
  double hartree, bohr, coulomb, s8, a1, a2, core_reach, screening_length;
};

PairConstants of_pair(const Constants& k, const Element& one, const Element& other,
                      double cutoff) {
  const double sigma = std::sqrt(one.width * one.width + other.width * other.width);
  const double c6 = std::sqrt(one.c6 * other.c6) * k.hartree;
  const double ratio = 3.0 * one.size * other.size;
  const double damping = k.a1 * std::sqrt(ratio) + k.a2;
  const double c8 = c6 * k.s8 * ratio;
  const double d2 = damping * damping, d6 = d2 * d2 * d2, d8 = d6 * d2;
  const double x = cutoff / sigma, value = std::erf(x) / cutoff;
  const double bell = 2.0 / std::sqrt(std::numbers::pi) * std::exp(-x * x) / sigma;
  const double b = cutoff / k.bohr, b2 = b * b, b6 = b2 * b2 * b2, b8 = b6 * b2;
  const double sixth = b6 + d6, eighth = b8 + d8;
  return {
      1.0 / sigma,
      c6,
      c8,
      d6,
      d8,
      k.coulomb * value,
      k.coulomb * (bell - value) / cutoff,
      -(c6 / sixth + c8 / eighth),
      (6.0 * c6 * b6 / b / (sixth * sixth) + 8.0 * c8 * b8 / b / (eighth * eighth)) / k.bohr,
      k.core_reach * (one.radius + other.radius),
      k.coulomb * one.nuclear_charge * other.nuclear_charge,
      (std::pow(one.nuclear_charge, 0.23) + std::pow(other.nuclear_charge, 0.23)) /
          k.screening_length};
}

}  // namespace

std::vector<PairConstants> read_physics(const Safetensors& file, int64_t elements, Physics& physics) {
  const auto scalar = [&](const char* name) { return positive(file, name, {1})[0]; };
  const Constants k{scalar("pairs.hartree"), scalar("pairs.bohr"),       scalar("pairs.coulomb"),
                    scalar("pairs.s8"),      scalar("pairs.a1"),         scalar("pairs.a2"),
                    scalar("pairs.core_reach"), scalar("pairs.screening_length")};
  physics.coulomb = k.coulomb;
  physics.bohr = k.bohr;
  const std::vector<double> screening = positive(file, "pairs.screening", {4, 2});
  for (int term = 0; term < 4; ++term)
    for (int part = 0; part < 2; ++part) physics.screening[term][part] = screening[2 * term + part];
  const auto width = positive(file, "pairs.width", {elements});
  const auto c6 = positive(file, "pairs.c6", {elements});
  const auto size = positive(file, "pairs.size", {elements});
  const auto radius = positive(file, "pairs.radius", {elements});
  const auto charge = positive(file, "pairs.nuclear_charge", {elements});
  const auto element = [&](int64_t e) {
    return Element{width[e], c6[e], size[e], radius[e], charge[e]};
  };
  std::vector<PairConstants> pairs;
  for (int64_t a = 0; a < elements; ++a)
    for (int64_t b = 0; b < elements; ++b)
      pairs.push_back(of_pair(k, element(a), element(b), physics.cutoff));
  physics.elements = elements;
  physics.pairs = pairs.data();
  return pairs;
}

}  // namespace forcegate
