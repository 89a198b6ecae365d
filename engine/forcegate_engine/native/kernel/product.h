// Matrix products with a packed matrix of weights, for few rows.
//
// Every element of the result is one chain of multiply-adds in the order of k, whatever the number
// of rows: an atom's result does not depend on who else is in the batch.
#pragma once

#include "vectors.h"

namespace forcegate::FORCEGATE_KERNEL {

// W [k, vectors · LANES], cut into panels of at most three vectors, each panel stored row by row.
struct Packed {
  const float* data;
  int k;
  int vectors;
};

template <int ROWS, int NV>
void product_tile(const float* a, int64_t lda, const float* w, int k, const float* start,
                  bool add, float* out, int64_t ldo) {
  Vec sums[ROWS][NV];
  for (int i = 0; i < ROWS; ++i)
    for (int j = 0; j < NV; ++j) {
      sums[i][j] = start ? load(start + j * kLanes) : Vec{};
      if (add) sums[i][j] += load(out + i * ldo + j * kLanes);
    }
  for (int kk = 0; kk < k; ++kk, w += NV * kLanes) {
    Vec row[NV];
    for (int j = 0; j < NV; ++j) hold(row[j] = load(w + j * kLanes));
    for (int i = 0; i < ROWS; ++i) {
      const Vec x = fill(a[i * lda + kk]);
      for (int j = 0; j < NV; ++j) sums[i][j] += x * row[j];
    }
  }
  for (int i = 0; i < ROWS; ++i)
    for (int j = 0; j < NV; ++j) store(out + i * ldo + j * kLanes, sums[i][j]);
}

// One panel for `rows` ≤ kSums / NV rows: picks the tile of that many.
template <int NV, int ROWS = kSums / NV>
void product_rows(int rows, const float* a, int64_t lda, const float* w, int k,
                  const float* start, bool add, float* out, int64_t ldo) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS)
      product_tile<ROWS, NV>(a, lda, w, k, start, add, out, ldo);
    else
      product_rows<NV, ROWS - 1>(rows, a, lda, w, k, start, add, out, ldo);
  }
}

template <int NV>
void product_panel(int64_t m, const float* a, int64_t lda, const float* w, int k,
                   const float* start, bool add, float* out, int64_t ldo) {
  constexpr int64_t most = kSums / NV;
  // Tiles of nearly equal size: a last tile of one row would leave the units idle.
  const int64_t tiles = (m + most - 1) / most;
  int64_t row = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t next = m * (tile + 1) / tiles;
    product_rows<NV>(next - row, a + row * lda, lda, w, k, start, add, out + row * ldo, ldo);
    row = next;
  }
}

// out [m, n] = a [m, k] W (+ bias) (+ out)
inline void product(int64_t m, const float* a, int64_t lda, const Packed& w, const float* bias,
                    bool add, float* out, int64_t ldo) {
  const int panels = (w.vectors + 2) / 3;
  const float* panel = w.data;
  int vector = 0;
  for (int p = 0; p < panels; ++p) {
    const int next = w.vectors * (p + 1) / panels;
    const int width = next - vector;
    const float* start = bias ? bias + vector * kLanes : nullptr;
    float* to = out + vector * kLanes;
    if (width == 3)
      product_panel<3>(m, a, lda, panel, w.k, start, add, to, ldo);
    else if (width == 2)
      product_panel<2>(m, a, lda, panel, w.k, start, add, to, ldo);
    else
      product_panel<1>(m, a, lda, panel, w.k, start, add, to, ldo);
    panel += static_cast<int64_t>(w.k) * width * kLanes;
    vector = next;
  }
}

}  // namespace forcegate::FORCEGATE_KERNEL
