// Which kernels there are, and which this processor runs.
#pragma once

#include "plain.h"

namespace forcegate {

// The `index`-th of those that run here, best first; null beyond the last.
const Kernel* kernel_here(int index);

// The one of that name, the best for a null name. Throws Failure with FORCEGATE_NO_KERNEL.
const Kernel& kernel_named(const char* name);

}  // namespace forcegate
