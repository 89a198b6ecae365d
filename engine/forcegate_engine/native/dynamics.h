// Molecular dynamics of a set of structures, step by step together.
#pragma once

#include "forcegate.h"
#include "model.h"

namespace forcegate {

// Advances `motion`. What it holds is the state after `motion.steps_done` steps, also when it throws
// Failure, or whatever the standard library throws.
void integrate(const forcegate_model& model, const forcegate_structures& structures,
               const forcegate_dynamics& dynamics, forcegate_motion& motion,
               const forcegate_answers& answers, int32_t threads);

}  // namespace forcegate
