// The way back, from the energy to the edge vectors.
#pragma once

#include "forward.h"

namespace forcegate::FORCEGATE_KERNEL {

// Gradients by what the update of layer l was given, in place of those by what it returned.
inline void Network::update_back(int l, int64_t begin, int64_t end, int worker) {
  const Layer& layer = w_.layers[l];
  const Saved& saved = saved_[l];
  const int64_t n = end - begin, f = f_, gates = layer.gates;
  const bool last = gates == 2;
  float* gs = grad_s_[side(l + 1)] + begin * f;
  float* gv = grad_v_[side(l + 1)] + begin * 3 * f;
  const float* mixed = saved.mixed + begin * 6 * f;
  const float *norm = saved.norm + begin * f, *inner = saved.inner + begin * f;
  const float* gate = saved.gate + begin * gates * f;
  float* grad_gate = scratch(worker);
  float* grad_before = grad_gate + 3 * n * f;
  float* grad_joined = grad_before + n * f;
  float* grad_mixed = grad_joined + 2 * n * f;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t b = 0; b < f; b += kLanes) {
      const Vec g = load(gs + i * f + b);
      float* to = grad_gate + i * gates * f + b;
      store(to, g);
      store(to + f, g * load(inner + i * f + b));
      if (!last) {
        Vec dot = Vec{};
        for (int x = 0; x < 3; ++x)
          dot += load(gv + (3 * i + x) * f + b) * load(mixed + (3 * i + x) * 2 * f + b);
        store(to + 2 * f, dot);
      }
    }
  product(n, grad_gate, gates * f, layer.gate_back, nullptr, false, grad_before, f);
  multiply_by_slope(saved.update + begin * f, n * f, grad_before);
  product(n, grad_before, f, layer.update_back, nullptr, false, grad_joined, 2 * f);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t b = 0; b < f; b += kLanes) {
      const Vec g = load(gs + i * f + b);
      const Vec by_inner = g * load(gate + i * gates * f + f + b);
      const Vec by_norm = load(grad_joined + i * 2 * f + f + b) / load(norm + i * f + b);
      for (int x = 0; x < 3; ++x) {
        const int64_t row = (3 * i + x) * 2 * f + b;
        const Vec uv = load(mixed + row), vv = load(mixed + row + f);
        Vec by_uv = by_inner * vv;
        if (!last)
          by_uv += load(gv + (3 * i + x) * f + b) * load(gate + i * gates * f + 2 * f + b);
        store(grad_mixed + row, by_uv);
        store(grad_mixed + row + f, by_inner * uv + by_norm * vv);
      }
      store(gs + i * f + b, g + load(grad_joined + i * 2 * f + b));
    }
  product(3 * n, grad_mixed, 2 * f, layer.mix_back, nullptr, !last, gv, f);
}

inline void Network::turn(int64_t begin, int64_t end, int worker) {
  const int64_t n = end - begin, h = shape_.readout;
  float* grad = scratch(worker);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t b = 0; b < h; b += kLanes) {
      Vec by_feature = load(w_.energy + b);
      // dE/dq is the potential at the atom.
      if (charges_) by_feature += potential[begin + i] * load(w_.charge + b);
      store(grad + i * h + b, by_feature * silu_slope(load(read_ + (begin + i) * h + b)));
    }
  product(n, grad, h, w_.readout_back, nullptr, false,
          grad_s_[side(shape_.depth)] + begin * f_, f_);
  update_back(shape_.depth - 1, begin, end, worker);
}

inline void Network::backward(int l, int64_t begin, int64_t end, int worker) {
  const Layer& layer = w_.layers[l];
  const Saved& saved = saved_[l];
  const int64_t n = end - begin, f = f_, parts = layer.parts;
  const Neighborhood edges{chunk_.neighbor, unit_, value_, slope_, shape_.functions};
  const float *gs = grad_s_[side(l + 1)], *gv = grad_v_[side(l + 1)];
  float *gs_in = grad_s_[side(l)], *gv_in = grad_v_[side(l)];
  MessageGradient g{saved.phi, saved.v, gs, gv, nullptr, nullptr, grad_edge_};
  if (parts == 2) {
    // The first layer: what it was given depends on no position.
    for (int64_t i = begin; i < end; ++i)
      messages_back<2>(edges, chunk_.offset[i], chunk_.offset[i + 1], i, layer.filter, f, g);
    return;
  }
  copy(gv + begin * 3 * f, n * 3 * f, gv_in + begin * 3 * f);
  float* grad_phi = scratch(worker);
  float* grad_before = grad_phi + 3 * n * f;
  clear(grad_phi, 3 * n * f);
  for (int64_t i = begin; i < end; ++i) {
    g.grad_phi = grad_phi + (i - begin) * 3 * f;
    g.grad_v_in = gv_in + i * 3 * f;
    messages_back<3>(edges, chunk_.offset[i], chunk_.offset[i + 1], i, layer.filter, f, g);
  }
  product(n, grad_phi, 3 * f, layer.phi_back, nullptr, false, grad_before, f);
  multiply_by_slope(saved.before + begin * f, n * f, grad_before);
  copy(gs + begin * f, n * f, gs_in + begin * f);
  product(n, grad_before, f, layer.hidden_back, nullptr, true, gs_in + begin * f, f);
  update_back(l - 1, begin, end, worker);
}

inline void Network::gradient(int64_t begin, int64_t end) const {
  in_eights(begin, end, [&](int64_t first, int count) {
    Doubles x[3], g[4];
    for (int lane = 0; lane < kEdges; ++lane) {
      const int64_t e = first + (lane < count ? lane : count - 1);
      for (int a = 0; a < 3; ++a) x[a][lane] = chunk_.edge_vector[3 * e + a];
      for (int a = 0; a < 4; ++a) g[a][lane] = grad_edge_[4 * e + a];
    }
    const Doubles inverse = 1.0 / root(x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + 1e-10);
    for (Doubles& part : x) part *= inverse;
    const Doubles along = g[0] * x[0] + g[1] * x[1] + g[2] * x[2];
    // unit = x/r: its gradient is what g has across the edge, over r.
    for (int a = 0; a < 3; ++a) {
      const Doubles by_edge = (g[a] - along * x[a]) * inverse + g[3] * x[a];
      for (int lane = 0; lane < count; ++lane)
        edge_gradient[3 * (first + lane) + a] = by_edge[lane];
    }
  });
}

}  // namespace forcegate::FORCEGATE_KERNEL
