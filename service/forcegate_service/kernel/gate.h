// What arrives at the operators, looked at once: behind this gate every index is in bounds.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include "weights.h"

namespace forcegate {

// Far above every student, and low enough that no product of two of them overflows.
constexpr int64_t kMostWidth = 4096, kMostDepth = 64, kMostFunctions = 4096, kMostElements = 256;

inline void check_number(const char* name, int64_t value, int64_t least, int64_t most) {
  TORCH_CHECK_VALUE(value >= least && value <= most, name, " ", value, "; expected ", least,
                    " to ", most);
}

// `rows` < 0 takes any number of them; `columns` 0 stands for a tensor of one dimension.
inline void check_tensor(const char* name, const at::Tensor& tensor, at::ScalarType type,
                         int64_t rows, int64_t columns = 0) {
  TORCH_CHECK_VALUE(tensor.device().is_cpu() && tensor.scalar_type() == type, name, " of ",
                    tensor.scalar_type(), " on ", tensor.device(), "; expected ", type, " on cpu");
  const bool fits = tensor.dim() == (columns ? 2 : 1) && (rows < 0 || tensor.size(0) == rows) &&
                    (!columns || tensor.size(1) == columns);
  TORCH_CHECK_VALUE(fits, name, " of shape ", tensor.sizes(), "; expected ",
                    rows < 0 ? "any number of" : std::to_string(rows), " rows of ",
                    columns ? std::to_string(columns) : "one", " value(s)");
}

inline void check_painn(const at::Tensor& edge_vector, const at::Tensor& element,
                        const at::Tensor& center, const at::Tensor& neighbor,
                        const at::Tensor& packed, int64_t width, int64_t readout, int64_t features,
                        int64_t depth, int64_t functions, int64_t elements, double cutoff) {
  check_number("width", width, kLanes, kMostWidth);
  check_number("readout", readout, kLanes, kMostWidth);
  TORCH_CHECK_VALUE(width % kLanes == 0 && readout % kLanes == 0, "width ", width,
                    " and readout ", readout, "; expected multiples of ", kLanes);
  check_number("features", features, 1, readout);
  check_number("depth", depth, 1, kMostDepth);
  check_number("functions", functions, 1, kMostFunctions);
  check_number("elements", elements, 1, kMostElements);
  TORCH_CHECK_VALUE(cutoff > 0.0 && std::isfinite(cutoff), "cutoff ", cutoff,
                    "; expected a positive length");
  check_tensor("center", center, at::kLong, -1);
  const int64_t edges = center.size(0);
  check_tensor("neighbor", neighbor, at::kLong, edges);
  check_tensor("edge_vector", edge_vector, at::kDouble, edges, 3);
  check_tensor("element", element, at::kLong, -1);
  const Shape shape{static_cast<int>(width), static_cast<int>(readout), static_cast<int>(depth),
                    static_cast<int>(functions)};
  check_tensor("packed", packed, at::kFloat, Weights::count(shape, elements));
  TORCH_CHECK_VALUE(packed.is_contiguous(), "packed weights with gaps; expected contiguous ones");
}

inline void check_collect(const at::Tensor& edge_vector, const at::Tensor& gradient,
                          const at::Tensor& center, const at::Tensor& neighbor,
                          const at::Tensor& structure_index, const at::Tensor& n_atoms) {
  check_tensor("center", center, at::kLong, -1);
  const int64_t edges = center.size(0);
  check_tensor("neighbor", neighbor, at::kLong, edges);
  check_tensor("edge_vector", edge_vector, at::kDouble, edges, 3);
  check_tensor("gradient", gradient, at::kDouble, edges, 3);
  check_tensor("structure_index", structure_index, at::kLong, -1);
  check_tensor("n_atoms", n_atoms, at::kLong, -1);
}

}  // namespace forcegate
