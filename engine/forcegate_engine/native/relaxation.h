// Structures on their way to the nearest minimum, each by itself and all evaluated together.
#pragma once

#include "forcegate.h"
#include "model.h"

namespace forcegate {

// Moves `relaxation.positions`, which hold where all structures are also when it throws Failure, or
// whatever the standard library throws.
void relax(const forcegate_model& model, const forcegate_structures& structures,
           forcegate_relaxation& relaxation, const forcegate_answers& answers, int32_t threads);

}  // namespace forcegate
