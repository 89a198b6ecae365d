#include "model.h"

#include "failure.h"
#include "packing.h"
#include "physics.h"

using namespace forcegate;

namespace {

// Far above every student, and low enough that no product of two of them overflows.
constexpr int64_t kMostWidth = 1024, kMostFunctions = 128, kMostNumber = 118;
constexpr double kMostCutoff = 100.0;  // Å

double length(const Safetensors& file, const char* name) {
  const double value = file.doubles(name, {1})[0];
  if (!(value >= 0.5 && value <= kMostCutoff))
    fail(FORCEGATE_BAD_WEIGHTS, "%s %g Å; expected 0.5 to %g", name, value, kMostCutoff);
  return value;
}

}  // namespace

forcegate_model::forcegate_model(const void* bytes, size_t size, const Kernel& kernel_)
    : kernel(kernel_), student{}, physics{} {
  const Safetensors file(bytes, size);
  if (file.text("format") != "forcegate" || file.text("format_version") != "1")
    fail(FORCEGATE_BAD_WEIGHTS, "weights of another program, or of a later release");
  const bool charges = file.number("interface", 1, 2) == 2;
  const Sizes sizes{file.number("width", 1, kMostWidth),
                    file.number("depth", 1, kMostDepth),
                    file.number("n_radial", 1, kMostFunctions),
                    file.number("readout_width", 1, kMostWidth),
                    file.number("elements", 1, kMostElements),
                    charges};
  width = static_cast<int>(sizes.width);
  n_radial = static_cast<int>(sizes.n_radial);
  const int64_t n = sizes.elements, h = sizes.readout;
  elements = file.integers("elements", {n});
  index.assign(kMostNumber + 1, -1);
  for (int64_t k = 0; k < n; ++k) {
    const int64_t number = elements[k];
    if (number < 1 || number > kMostNumber || index[number] >= 0)
      fail(FORCEGATE_BAD_WEIGHTS, "element %lld; expected atomic numbers, each once",
           static_cast<long long>(number));
    index[number] = static_cast<int>(k);
  }
  packed = forcegate::packed(file, sizes, kernel.lanes);
  reference_energies = file.doubles("reference_energies", {n});
  novelty_mean = file.doubles("novelty_mean", {n, h});
  novelty_factor = file.doubles("novelty_factor", {h, h});
  uncertainty_factor = file.doubles("uncertainty_factor", {h, h});
  if (charges) {
    physics.cutoff = length(file, "pairs.cutoff");
    pairs = read_physics(file, n, physics);
  }
  student = {shape_of(sizes, kernel.lanes),
             length(file, "cutoff"),
             packed.data(),
             reference_energies.data(),
             novelty_mean.data(),
             novelty_factor.data(),
             uncertainty_factor.data(),
             charges ? &physics : nullptr};
  file.require_all_read();
}
