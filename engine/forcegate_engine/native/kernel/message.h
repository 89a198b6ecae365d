// Messages between atoms, forward and backward, without any array over edges and features.
//
// The filters are formed in registers from the radial functions, used, and forgotten; the way back
// forms them again, with their slopes, which costs less than reading them from memory. Both passes
// gather: atom i collects from its neighbors and nobody writes to another atom's features. The way
// back can gather too because every pair is listed in both directions: the message from i to its
// neighbor has the same filter as the one from the neighbor to i, and the opposite direction.
#pragma once

#include "weights.h"

namespace forcegate::FORCEGATE_KERNEL {

// What the messages of one layer read, for all atoms and edges of a chunk.
struct Neighborhood {
  const int32_t* neighbor;  // [E]
  const float* unit;        // [E, 4]
  const float* value;       // [E, functions]
  const float* slope;       // [E, functions]
  int functions;
};

template <int PARTS, int EDGES>
void message_tile(const Neighborhood& edges, int64_t first, const float* filter, int f,
                  const float* phi, const float* v, float* s_out, float* v_out) {
  const int functions = edges.functions;
  const float* value = edges.value + first * functions;
  for (int b = 0; b < f; b += kLanes) {
    Vec w[EDGES][PARTS] = {};
    for (int k = 0; k < functions; ++k, filter += PARTS * kLanes) {
      Vec row[PARTS];
      for (int p = 0; p < PARTS; ++p) hold(row[p] = load(filter + p * kLanes));
      for (int e = 0; e < EDGES; ++e) {
        const Vec x = fill(value[e * functions + k]);
        for (int p = 0; p < PARTS; ++p) w[e][p] += x * row[p];
      }
    }
    Vec ds = load(s_out + b);
    Vec dv[3];
    for (int x = 0; x < 3; ++x) dv[x] = load(v_out + x * f + b);
// Unrolled, so that the filters of all edges stay in registers.
#pragma GCC unroll 12
    for (int e = 0; e < EDGES; ++e) {
      const int64_t n = edges.neighbor[first + e];
      const float* from = phi + n * PARTS * f + b;
      const float* unit = edges.unit + 4 * (first + e);
      ds += w[e][0] * load(from);
      const Vec along = w[e][1] * load(from + f);
      for (int x = 0; x < 3; ++x) dv[x] += along * unit[x];
      if constexpr (PARTS == 3) {
        const Vec scale = w[e][2] * load(from + 2 * f);
        for (int x = 0; x < 3; ++x) dv[x] += scale * load(v + (n * 3 + x) * f + b);
      }
    }
    store(s_out + b, ds);
    for (int x = 0; x < 3; ++x) store(v_out + x * f + b, dv[x]);
  }
}

// What the way back of one layer reads and writes; phi and v are those of the forward pass, grad_s
// and grad_v the gradients by what the messages were added to.
struct MessageGradient {
  const float *phi, *v, *grad_s, *grad_v;
  float *grad_phi, *grad_v_in;  // of the atom at hand, summed up; not read in the first layer
  float* grad_edge;             // [E, 4], by the unit vector and by the distance, summed up
};

template <int PARTS, int EDGES>
void message_back_tile(const Neighborhood& edges, int64_t first, int64_t atom,
                       const float* filter, int f, const MessageGradient& g) {
  const int functions = edges.functions;
  const float* value = edges.value + first * functions;
  const float* slope = edges.slope + first * functions;
  const float* phi = g.phi + atom * PARTS * f;
  const float* v = g.v + atom * 3 * f;
  Vec by_edge[EDGES][4] = {};
  for (int b = 0; b < f; b += kLanes) {
    Vec w[EDGES][PARTS] = {}, dw[EDGES][PARTS] = {};
    for (int k = 0; k < functions; ++k, filter += PARTS * kLanes) {
      Vec row[PARTS];
      for (int p = 0; p < PARTS; ++p) hold(row[p] = load(filter + p * kLanes));
      for (int e = 0; e < EDGES; ++e) {
        // One after the other: both at once would take a register more than there are.
        const Vec x = fill(value[e * functions + k]);
        for (int p = 0; p < PARTS; ++p) w[e][p] += x * row[p];
        const Vec y = fill(slope[e * functions + k]);
        for (int p = 0; p < PARTS; ++p) dw[e][p] += y * row[p];
      }
    }
#pragma GCC unroll 12
    for (int e = 0; e < EDGES; ++e) {
      const int64_t n = edges.neighbor[first + e];
      const float* unit = edges.unit + 4 * (first + e);
      const Vec gs = load(g.grad_s + n * f + b);
      Vec gv[3];
      for (int x = 0; x < 3; ++x) gv[x] = load(g.grad_v + (n * 3 + x) * f + b);
      // The message runs from here to the neighbor: its unit vector is minus that of this edge.
      const Vec along = -(gv[0] * unit[0] + gv[1] * unit[1] + gv[2] * unit[2]);
      const Vec phi_s = load(phi + b), phi_along = load(phi + f + b);
      Vec by_distance = phi_s * gs * dw[e][0] + phi_along * along * dw[e][1];
      const Vec message = phi_along * w[e][1];
      for (int x = 0; x < 3; ++x) by_edge[e][x] -= message * gv[x];
      if constexpr (PARTS == 3) {
        const Vec phi_scale = load(phi + 2 * f + b);
        Vec scaled = Vec{};
        const Vec back = phi_scale * w[e][2];
        for (int x = 0; x < 3; ++x) {
          scaled += gv[x] * load(v + x * f + b);
          float* to = g.grad_v_in + x * f + b;
          store(to, load(to) + back * gv[x]);
        }
        by_distance += phi_scale * scaled * dw[e][2];
        store(g.grad_phi + b, load(g.grad_phi + b) + w[e][0] * gs);
        store(g.grad_phi + f + b, load(g.grad_phi + f + b) + w[e][1] * along);
        store(g.grad_phi + 2 * f + b, load(g.grad_phi + 2 * f + b) + w[e][2] * scaled);
      }
      by_edge[e][3] += by_distance;
    }
  }
  for (int e = 0; e < EDGES; ++e)
    for (int x = 0; x < 4; ++x) g.grad_edge[4 * (first + e) + x] += sum(by_edge[e][x]);
}

// Calls tile.operator()<n>(first) for consecutive tiles of n ≤ MOST edges, of nearly equal size.
template <int EDGES, typename Tile>
void one_tile(int edges, int64_t first, const Tile& tile) {
  if constexpr (EDGES > 0) {
    if (edges == EDGES)
      tile.template operator()<EDGES>(first);
    else
      one_tile<EDGES - 1>(edges, first, tile);
  }
}

template <int MOST, typename Tile>
void in_tiles(int64_t begin, int64_t end, const Tile& tile) {
  const int64_t count = end - begin, tiles = (count + MOST - 1) / MOST;
  int64_t first = begin;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t next = begin + count * (t + 1) / tiles;
    one_tile<MOST>(static_cast<int>(next - first), first, tile);
    first = next;
  }
}

// Adds to s_out and v_out of one atom the messages along its edges begin … end.
template <int PARTS>
void messages(const Neighborhood& edges, int64_t begin, int64_t end, const float* filter, int f,
              const float* phi, const float* v, float* s_out, float* v_out) {
  in_tiles<kSums / PARTS>(begin, end, [&]<int EDGES>(int64_t first) {
    message_tile<PARTS, EDGES>(edges, first, filter, f, phi, v, s_out, v_out);
  });
}

template <int PARTS>
void messages_back(const Neighborhood& edges, int64_t begin, int64_t end, int64_t atom,
                   const float* filter, int f, const MessageGradient& g) {
  in_tiles<kSums / (2 * PARTS)>(begin, end, [&]<int EDGES>(int64_t first) {
    message_back_tile<PARTS, EDGES>(edges, first, atom, filter, f, g);
  });
}

}  // namespace forcegate::FORCEGATE_KERNEL
