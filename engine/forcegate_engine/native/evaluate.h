// A batch of structures, cut into what threads do.
#pragma once

#include "forcegate.h"
#include "model.h"

namespace forcegate {

// Throws Failure, and whatever the standard library throws.
void evaluate(const forcegate_model& model, const forcegate_structures& structures,
              const forcegate_answers& answers, int32_t threads);

}  // namespace forcegate
