// The constants of pairs, from the numbers of the elements that the weights bring along.
#pragma once

#include <vector>

#include "plain.h"
#include "safetensors.h"

namespace forcegate {

// Fills in `physics`, whose cutoff is known, and returns its pairs, which have to stay.
// Throws Failure with FORCEGATE_BAD_WEIGHTS.
std::vector<PairConstants> read_physics(const Safetensors& file, int64_t elements, Physics& physics);

}  // namespace forcegate
