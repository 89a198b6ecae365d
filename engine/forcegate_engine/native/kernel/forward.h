// The way from positions to atomic energies and charges.
#pragma once

#include "network.h"

namespace forcegate::FORCEGATE_KERNEL {

inline void copy(const float* from, int64_t count, float* to) {
  std::memcpy(to, from, count * sizeof(float));
}

inline void clear(float* to, int64_t count) { std::memset(to, 0, count * sizeof(float)); }

inline void apply_silu(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kLanes) store(out + i, silu(load(x + i)));
}

inline void multiply_by_slope(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kLanes) store(out + i, load(out + i) * silu_slope(load(x + i)));
}

inline void Network::edges(int64_t begin, int64_t end) {
  const int functions = shape_.functions;
  in_eights(begin, end, [&](int64_t first, int count) {
    radial(chunk_.edge_vector + 3 * first, count, cutoff_, functions, unit_ + 4 * first,
           value_ + first * functions, slope_ + first * functions);
  });
  const int64_t first = chunk_.offset[begin];
  clear(grad_edge_ + 4 * first, 4 * (chunk_.offset[end] - first));
}

inline void Network::embed(int64_t begin, int64_t end, int worker) {
  for (int64_t i = begin; i < end; ++i)
    copy(w_.embedding + chunk_.element[i] * f_, f_, s_ + i * f_);
  clear(saved_[0].v + begin * 3 * f_, (end - begin) * 3 * f_);
  make_phi(0, begin, end, worker);
}

inline void Network::make_phi(int l, int64_t begin, int64_t end, int worker) {
  const Layer& layer = w_.layers[l];
  const int64_t n = end - begin, f = f_;
  float* before = saved_[l].before + begin * f;
  float* active = scratch(worker);
  product(n, s_ + begin * f, f, layer.hidden, layer.hidden_bias, false, before, f);
  apply_silu(before, n * f, active);
  product(n, active, f, layer.phi, layer.phi_bias, false,
          saved_[l].phi + begin * layer.parts * f, layer.parts * f);
}

inline void Network::forward(int l, int64_t begin, int64_t end, int worker) {
  const Layer& layer = w_.layers[l];
  const Neighborhood edges{chunk_.neighbor, unit_, value_, slope_, shape_.functions};
  const float *phi = saved_[l].phi, *v = saved_[l].v;
  float* v_out = vectors_after(l);
  copy(v + begin * 3 * f_, (end - begin) * 3 * f_, v_out + begin * 3 * f_);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t from = chunk_.offset[i], to = chunk_.offset[i + 1];
    float *s_i = s_ + i * f_, *v_i = v_out + i * 3 * f_;
    if (layer.parts == 2)
      messages<2>(edges, from, to, layer.filter, f_, phi, v, s_i, v_i);
    else
      messages<3>(edges, from, to, layer.filter, f_, phi, v, s_i, v_i);
  }
  update(l, begin, end, worker);
  if (l + 1 < shape_.depth)
    make_phi(l + 1, begin, end, worker);
  else
    read_out(begin, end);
}

inline void Network::update(int l, int64_t begin, int64_t end, int worker) {
  const Layer& layer = w_.layers[l];
  const Saved& saved = saved_[l];
  const int64_t n = end - begin, f = f_, gates = layer.gates;
  float* v = vectors_after(l) + begin * 3 * f;
  float* s = s_ + begin * f;
  float* mixed = saved.mixed + begin * 6 * f;
  float *norm = saved.norm + begin * f, *inner = saved.inner + begin * f;
  float *before = saved.update + begin * f, *gate = saved.gate + begin * gates * f;
  float* joined = scratch(worker);
  float* active = joined + 2 * n * f;
  product(3 * n, v, f, layer.mix, nullptr, false, mixed, 2 * f);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t b = 0; b < f; b += kLanes) {
      Vec squared = fill(kNormEpsilon), dot = Vec{};
      for (int x = 0; x < 3; ++x) {
        const float* row = mixed + (3 * i + x) * 2 * f + b;
        const Vec vv = load(row + f);
        squared += vv * vv;
        dot += load(row) * vv;
      }
      const Vec root = sqrt(squared);
      store(norm + i * f + b, root);
      store(inner + i * f + b, dot);
      store(joined + i * 2 * f + b, load(s + i * f + b));
      store(joined + i * 2 * f + f + b, root);
    }
  product(n, joined, 2 * f, layer.update, layer.update_bias, false, before, f);
  apply_silu(before, n * f, active);
  product(n, active, f, layer.gate, layer.gate_bias, false, gate, gates * f);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t b = 0; b < f; b += kLanes) {
      const float* g = gate + i * gates * f + b;
      float* si = s + i * f + b;
      store(si, load(si) + load(g) + load(g + f) * load(inner + i * f + b));
      if (gates == 3)
        for (int x = 0; x < 3; ++x) {
          float* vi = v + (3 * i + x) * f + b;
          store(vi, load(vi) + load(g + 2 * f) * load(mixed + (3 * i + x) * 2 * f + b));
        }
    }
}

inline void Network::read_out(int64_t begin, int64_t end) {
  const int64_t n = end - begin, h = shape_.readout;
  product(n, s_ + begin * f_, f_, w_.readout, w_.readout_bias, false, read_ + begin * h, h);
  for (int64_t i = begin; i < end; ++i) {
    Vec by_energy = Vec{}, by_charge = Vec{};
    for (int64_t b = 0; b < h; b += kLanes) {
      const Vec feature = silu(load(read_ + i * h + b));
      by_energy += feature * load(w_.energy + b);
      if (charges_) by_charge += feature * load(w_.charge + b);
      store(features + i * h + b, feature);
    }
    energy[i] = sum(by_energy) + w_.last_bias[0];
    if (charges_) charge[i] = sum(by_charge) + w_.last_bias[1];
  }
}

}  // namespace forcegate::FORCEGATE_KERNEL
