#include "kernels.h"

#include <cstring>

#include "failure.h"

namespace forcegate {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernel kernel;
}
namespace avx2 {
extern const Kernel kernel;
}
#elif defined(__aarch64__)
namespace neon {
extern const Kernel kernel;
}
#endif
#if !defined(__aarch64__)
namespace portable {
extern const Kernel kernel;
}
#endif

const Kernel* kernel_here(int index) {
  const Kernel* here[3] = {};
  int count = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2_runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2_runs && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    here[count++] = &avx512::kernel;
  if (avx2_runs) here[count++] = &avx2::kernel;
#endif
#if defined(__aarch64__)
  here[count++] = &neon::kernel;
#else
  here[count++] = &portable::kernel;
#endif
  return index >= 0 && index < count ? here[index] : nullptr;
}

const Kernel& kernel_named(const char* name) {
  for (int index = 0; const Kernel* kernel = kernel_here(index); ++index)
    if (!name || std::strcmp(name, kernel->name) == 0) return *kernel;
  fail(FORCEGATE_NO_KERNEL, "no kernel %.40s that this processor runs", name);
}

}  // namespace forcegate
