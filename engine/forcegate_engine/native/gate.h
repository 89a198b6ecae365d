// What arrives at the border, looked at once: behind this gate every index is in bounds.
#pragma once

#include <functional>
#include <vector>

#include "forcegate.h"
#include "model.h"

namespace forcegate {

// Throws Failure if there are too many atoms to look at, or no arrays of them.
void check_sizes(const forcegate_structures& structures);

// Looks at positions and cells, and calls more(b, begin, end) for the atoms begin … end of each
// structure before that. Throws Failure. Returns where the atoms of each begin, [n_structures + 1].
std::vector<int64_t> check_structures(
    const forcegate_structures& structures,
    const std::function<void(int64_t, int64_t, int64_t)>& more);

// The same for what a model is asked; `element` [N] becomes the index of each atom's element.
std::vector<int64_t> check(const forcegate_model& model, const forcegate_structures& structures,
                           const forcegate_answers& answers, int32_t threads,
                           std::vector<int32_t>& element);

// Throws Failure if an answer is not finite.
void check_answers(const forcegate_structures& structures, const forcegate_answers& answers,
                   const std::vector<int64_t>& first_atom);

}  // namespace forcegate
