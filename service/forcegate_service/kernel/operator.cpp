// The network, and the sums of its gradients, as operators that torch knows: torch.ops.forcegate.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <omp.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "gate.h"
#include "network.h"

namespace forcegate {
namespace {

// Atoms that are computed together: enough rows to use the weights well, few enough that what the
// way back needs stays in the second-level cache.
constexpr int64_t kChunkAtoms = 24;
// Rows of one block of atoms within them.
constexpr int64_t kMostRows = 32;
constexpr int64_t kLeastRows = 8;

// First atoms of parts of the graph that no edge connects.
std::vector<int64_t> cut(const std::vector<int64_t>& offset, const int64_t* neighbor) {
  const int64_t n = static_cast<int64_t>(offset.size()) - 1;
  std::vector<int64_t> bounds{0};
  int64_t reach = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t e = offset[i]; e < offset[i + 1]; ++e) reach = std::max(reach, neighbor[e]);
    if (reach <= i && i + 1 - bounds.back() >= kChunkAtoms && i + 1 < n) bounds.push_back(i + 1);
  }
  bounds.push_back(n);
  return bounds;
}

// Calls f(0) … f(count − 1), on as many threads as torch may use; within another such call on the
// one it is on. Each call is one task: some structures are larger than others.
template <typename F>
void in_parallel(int64_t count, const F& f) {
  const int64_t threads = omp_in_parallel() ? 1 : std::min<int64_t>(count, at::get_num_threads());
  if (threads < 2) {
    for (int64_t i = 0; i < count; ++i) f(i);
    return;
  }
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(dynamic, 1)
  for (int64_t i = 0; i < count; ++i) f(i);
}

template <typename Stage>
void in_blocks(int64_t atoms, const Stage& stage) {
  const int64_t threads = omp_in_parallel() ? 1 : at::get_num_threads();
  const int64_t rows = std::clamp((atoms + threads - 1) / threads, kLeastRows, kMostRows);
  const int64_t blocks = (atoms + rows - 1) / rows;
  in_parallel(blocks, [&](int64_t b) { stage(atoms * b / blocks, atoms * (b + 1) / blocks); });
}

void evaluate(const Weights& weights, const Shape& shape, double cutoff, const Chunk& chunk,
              const Answer& answer) {
  thread_local Arena arena;
  Network network(weights, shape, cutoff, chunk, arena);
  in_blocks(chunk.atoms, [&](int64_t begin, int64_t end) {
    network.edges(begin, end);
    network.embed(begin, end);
  });
  for (int l = 0; l < shape.depth; ++l)
    in_blocks(chunk.atoms, [&](int64_t begin, int64_t end) {
      network.forward(l, begin, end, answer);
    });
  for (int l = shape.depth - 1; l >= 0; --l)
    in_blocks(chunk.atoms, [&](int64_t begin, int64_t end) { network.backward(l, begin, end); });
  in_blocks(chunk.atoms, [&](int64_t begin, int64_t end) { network.gradient(begin, end, answer); });
  arena.give_back();
}

// Atomic energies [N], dE/d(edge vector) [E, 3] and readout features [N, features], as PaiNN in
// the trainer returns them. Edges are sorted by center, and every pair is there in both directions.
std::tuple<at::Tensor, at::Tensor, at::Tensor> painn(
    const at::Tensor& edge_vector, const at::Tensor& element, const at::Tensor& center,
    const at::Tensor& neighbor, const at::Tensor& packed, int64_t width, int64_t readout,
    int64_t features, int64_t depth, int64_t functions, int64_t elements, double cutoff) {
  check_painn(edge_vector, element, center, neighbor, packed, width, readout, features, depth,
              functions, elements, cutoff);
  const at::Tensor vectors = edge_vector.contiguous(), kinds = element.contiguous();
  const at::Tensor centers = center.contiguous(), neighbors = neighbor.contiguous();
  const Shape shape{static_cast<int>(width), static_cast<int>(readout), static_cast<int>(depth),
                    static_cast<int>(functions)};
  const float* data = packed.const_data_ptr<float>();
  const Weights weights(data, shape, elements);
  const int64_t n = kinds.size(0), e = centers.size(0);
  const int64_t* c = centers.const_data_ptr<int64_t>();
  const int64_t* m = neighbors.const_data_ptr<int64_t>();
  std::vector<int64_t> offset(n + 1, 0);
  for (int64_t k = 0; k < e; ++k) {
    TORCH_CHECK(c[k] >= 0 && c[k] < n && m[k] >= 0 && m[k] < n && (k == 0 || c[k - 1] <= c[k]),
                "edge ", k, " connects atoms ", c[k], " and ", m[k], " of ", n,
                "; expected edges sorted by center");
    ++offset[c[k] + 1];
  }
  for (int64_t i = 0; i < n; ++i) offset[i + 1] += offset[i];
  const int64_t* kind = kinds.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < n; ++i)
    TORCH_CHECK(kind[i] >= 0 && kind[i] < elements, "element index ", kind[i], " of ", elements);

  at::Tensor energy = at::empty({n}, packed.options());
  at::Tensor features_out = at::empty({n, features}, packed.options());
  at::Tensor gradient = at::empty({e, 3}, vectors.options());
  const std::vector<int64_t> bounds = cut(offset, m);
  const int64_t parts = static_cast<int64_t>(bounds.size()) - 1;
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t k = offset[bounds[part]]; k < offset[bounds[part + 1]]; ++k)
      TORCH_CHECK(m[k] >= bounds[part], "edge ", k, " from atom ", c[k], " to ", m[k],
                  " has no counterpart; expected every pair in both directions");
  in_parallel(parts, [&](int64_t part) {
    const int64_t begin = bounds[part], atoms = bounds[part + 1] - begin;
    const int64_t first = offset[begin], edges = offset[begin + atoms] - first;
    std::vector<int64_t> local_offset(atoms + 1);
    std::vector<int32_t> local_neighbor(edges);
    for (int64_t i = 0; i <= atoms; ++i) local_offset[i] = offset[begin + i] - first;
    for (int64_t k = 0; k < edges; ++k)
      local_neighbor[k] = static_cast<int32_t>(m[first + k] - begin);
    const Chunk chunk{atoms, edges, kind + begin, local_offset.data(), local_neighbor.data(),
                      vectors.const_data_ptr<double>() + 3 * first};
    const Answer answer{energy.mutable_data_ptr<float>() + begin,
                        features_out.mutable_data_ptr<float>() + begin * features,
                        gradient.mutable_data_ptr<double>() + 3 * first, features};
    evaluate(weights, shape, cutoff, chunk, answer);
  });
  return {energy, gradient, features_out};
}

// Forces [N, 3] and −Σ edge vector ⊗ gradient [B, 3, 3] from gradients by the edge vectors.
std::tuple<at::Tensor, at::Tensor> collect(
    const at::Tensor& edge_vector, const at::Tensor& gradient, const at::Tensor& center,
    const at::Tensor& neighbor, const at::Tensor& structure_index, const at::Tensor& n_atoms) {
  check_collect(edge_vector, gradient, center, neighbor, structure_index, n_atoms);
  const at::Tensor vectors = edge_vector.contiguous(), gradients = gradient.contiguous();
  const at::Tensor centers = center.contiguous(), neighbors = neighbor.contiguous();
  const at::Tensor owners = structure_index.contiguous();
  const int64_t n = owners.size(0), edges = centers.size(0), structures = n_atoms.size(0);
  at::Tensor forces = at::zeros({n, 3}, gradients.options());
  at::Tensor virial = at::zeros({structures, 3, 3}, gradients.options());
  const double* x = vectors.const_data_ptr<double>();
  const double* g = gradients.const_data_ptr<double>();
  const int64_t* c = centers.const_data_ptr<int64_t>();
  const int64_t* m = neighbors.const_data_ptr<int64_t>();
  const int64_t* owner = owners.const_data_ptr<int64_t>();
  double* f = forces.mutable_data_ptr<double>();
  double* w = virial.mutable_data_ptr<double>();
  for (int64_t first = 0; first < edges;) {
    // Edges of one center follow each other: their sum stays in registers.
    const int64_t i = c[first];
    TORCH_CHECK(i >= 0 && i < n && owner[i] >= 0 && owner[i] < structures, "edge ", first,
                " starts at atom ", i, " of ", n, "; expected an atom of one of ", structures,
                " structures");
    double by_center[3] = {}, outer[9] = {};
    int64_t e = first;
    for (; e < edges && c[e] == i; ++e) {
      TORCH_CHECK(m[e] >= 0 && m[e] < n, "edge ", e, " ends at atom ", m[e], " of ", n);
      double* to = f + 3 * m[e];
      for (int a = 0; a < 3; ++a) {
        by_center[a] += g[3 * e + a];
        to[a] -= g[3 * e + a];
        for (int b = 0; b < 3; ++b) outer[3 * a + b] += x[3 * e + a] * g[3 * e + b];
      }
    }
    for (int a = 0; a < 3; ++a) f[3 * i + a] += by_center[a];
    for (int ab = 0; ab < 9; ++ab) w[9 * owner[i] + ab] -= outer[ab];
    first = e;
  }
  return {forces, virial};
}

}  // namespace

TORCH_LIBRARY(forcegate, library) {
  library.def(
      "painn(Tensor edge_vector, Tensor element, Tensor center, Tensor neighbor, Tensor packed, "
      "int width, int readout, int features, int depth, int functions, int elements, "
      "float cutoff) -> (Tensor, Tensor, Tensor)");
  library.def(
      "collect(Tensor edge_vector, Tensor gradient, Tensor center, Tensor neighbor, "
      "Tensor structure_index, Tensor n_atoms) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(forcegate, CPU, library) {
  library.impl("painn", painn);
  library.impl("collect", collect);
}

}  // namespace forcegate
