#include "gate.h"

#include <cmath>

#include "failure.h"
#include "lattice.h"

namespace forcegate {

namespace {

// So that numbers of atoms fit into 32 bits, with room for their images.
constexpr int64_t kMostAtoms = 10'000'000;
constexpr double kFarthest = 1e6;  // Å
constexpr double kMostCharge = 1e6;

using Long = long long;

}  // namespace

void check_sizes(const forcegate_structures& s) {
  const int64_t b = s.n_structures, n = s.total_atoms;
  if (b < 0 || b > kMostAtoms || n < 0 || n > kMostAtoms)
    fail(FORCEGATE_BAD_ARGUMENT, "%lld structures of %lld atoms; expected 0 to %lld of each",
         static_cast<Long>(b), static_cast<Long>(n), static_cast<Long>(kMostAtoms));
  if ((b && !s.n_atoms) || (n && (!s.atomic_numbers || !s.positions)))
    fail(FORCEGATE_BAD_ARGUMENT, "no n_atoms, atomic_numbers or positions; expected all three");
}

std::vector<int64_t> check_structures(
    const forcegate_structures& s, const std::function<void(int64_t, int64_t, int64_t)>& more) {
  check_sizes(s);
  std::vector<int64_t> first_atom{0};
  for (int64_t b = 0; b < s.n_structures; ++b) {
    try {
      const int64_t count = s.n_atoms[b], begin = first_atom.back();
      if (count < 1 || count > s.total_atoms - begin)
        fail(FORCEGATE_BAD_ARGUMENT, "%lld atoms in a structure; expected 1 to %lld, those left",
             static_cast<Long>(count), static_cast<Long>(s.total_atoms - begin));
      more(b, begin, begin + count);
      for (int64_t i = begin; i < begin + count; ++i)
        for (int x = 0; x < 3; ++x)
          if (!(std::abs(s.positions[3 * i + x]) <= kFarthest))
            fail(FORCEGATE_BAD_STRUCTURE, "atom %lld at %g; expected finite positions within %g Å",
                 static_cast<Long>(i - begin), s.positions[3 * i + x], kFarthest);
      const uint8_t* pbc = s.pbc ? s.pbc + 3 * b : nullptr;
      if (pbc && (pbc[0] || pbc[1] || pbc[2])) {
        if (!s.cells) fail(FORCEGATE_BAD_ARGUMENT, "periodic axes without cells");
        Lattice checked(s.cells + 9 * b, pbc);
      }
      first_atom.push_back(begin + count);
    } catch (Failure& failure) {
      failure.structure = b;
      throw;
    }
  }
  if (first_atom.back() != s.total_atoms)
    fail(FORCEGATE_BAD_ARGUMENT, "%lld atoms in all structures; expected total_atoms, %lld",
         static_cast<Long>(first_atom.back()), static_cast<Long>(s.total_atoms));
  return first_atom;
}

std::vector<int64_t> check(const forcegate_model& model, const forcegate_structures& s,
                           const forcegate_answers& answers, int32_t threads,
                           std::vector<int32_t>& element) {
  check_sizes(s);
  if (threads < 0 || threads > 4096)
    fail(FORCEGATE_BAD_ARGUMENT, "%d threads; expected 0 to 4096", static_cast<int>(threads));
  if (answers.charges && !model.student.physics)
    fail(FORCEGATE_NO_CHARGES, "charges asked of a student that knows none");
  element.resize(s.total_atoms);
  return check_structures(s, [&](int64_t b, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      element[i] = model.element_of(s.atomic_numbers[i]);
      if (element[i] < 0)
        fail(FORCEGATE_UNKNOWN_ELEMENT, "atom %lld of element %lld, which the student does not "
             "know", static_cast<Long>(i - begin), static_cast<Long>(s.atomic_numbers[i]));
    }
    if (s.charges && !(std::abs(s.charges[b]) <= kMostCharge))
      fail(FORCEGATE_BAD_STRUCTURE, "a net charge of %g", s.charges[b]);
    if (s.charges && s.charges[b] != 0.0 && !model.student.physics)
      fail(FORCEGATE_NO_CHARGES, "a net charge of %g of a student that knows neutral structures "
           "alone", s.charges[b]);
  });
}

void check_answers(const forcegate_structures& s, const forcegate_answers& answers,
                   const std::vector<int64_t>& first_atom) {
  const auto finite = [](const double* values, int64_t begin, int64_t end) {
    for (int64_t k = begin; values && k < end; ++k)
      if (!std::isfinite(values[k])) return false;
    return true;
  };
  for (int64_t b = 0; b < s.n_structures; ++b) {
    const int64_t begin = first_atom[b], end = first_atom[b + 1];
    if (finite(answers.energy, b, b + 1) && finite(answers.energy_uncertainty, b, b + 1) &&
        finite(answers.virial, 9 * b, 9 * b + 9) && finite(answers.forces, 3 * begin, 3 * end) &&
        finite(answers.charges, begin, end) && finite(answers.atom_novelty, begin, end))
      continue;
    throw Failure{FORCEGATE_NOT_FINITE,
                  "an answer that is not finite: atoms of this structure lie where the student has "
                  "none",
                  b};
  }
}

}  // namespace forcegate
