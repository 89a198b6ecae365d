// Atoms that are closer to each other than their elements allow.
#pragma once

#include "forcegate.h"

namespace forcegate {

// As forcegate_closest; throws Failure.
void closest(const forcegate_structures& structures, const double* near, int64_t n_numbers,
             int64_t* pairs, double* distances);

}  // namespace forcegate
