// How close the atoms of structures are, and how much there will be to compute.
#pragma once

#include "forcegate.h"

namespace forcegate {

// Throws Failure.
void survey(const forcegate_structures& structures, const forcegate_survey_of& asked);

}  // namespace forcegate
