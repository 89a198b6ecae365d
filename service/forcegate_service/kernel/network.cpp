#include "network.h"

#include <algorithm>

namespace forcegate {

namespace {

// Scratch of one block of atoms, kept with its thread.
float* scratch(int64_t floats) {
  thread_local Arena arena;
  arena.reserve(floats + 16);
  return arena.take(floats);
}

void apply_silu(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kLanes) store(out + i, silu(load(x + i)));
}

void multiply_by_slope(const float* x, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i += kLanes) store(out + i, load(out + i) * silu_slope(load(x + i)));
}

}  // namespace

void Network::edges(int64_t begin, int64_t end) {
  const int functions = shape_.functions;
  const int64_t first = chunk_.offset[begin], last = chunk_.offset[end];
  for (int64_t e = first; e < last; e += kEdges)
    radial(chunk_.edge_vector + 3 * e, static_cast<int>(std::min<int64_t>(kEdges, last - e)),
           cutoff_, functions, unit_ + 4 * e, value_ + e * functions, slope_ + e * functions);
  std::fill(grad_edge_ + 4 * first, grad_edge_ + 4 * last, 0.0f);
}

void Network::embed(int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i)
    std::copy_n(w_.embedding + chunk_.element[i] * f_, f_, s_ + i * f_);
  std::fill(saved_[0].v + begin * 3 * f_, saved_[0].v + end * 3 * f_, 0.0f);
  make_phi(0, begin, end);
}

void Network::make_phi(int l, int64_t begin, int64_t end) {
  const Layer& layer = w_.layers[l];
  const int64_t n = end - begin, f = f_;
  float* before = saved_[l].before + begin * f;
  float* active = scratch(n * f);
  product(n, s_ + begin * f, f, layer.hidden, layer.hidden_bias, false, before, f);
  apply_silu(before, n * f, active);
  product(n, active, f, layer.phi, layer.phi_bias, false,
          saved_[l].phi + begin * layer.parts * f, layer.parts * f);
}

void Network::forward(int l, int64_t begin, int64_t end, const Answer& answer) {
  const Layer& layer = w_.layers[l];
  const Neighborhood edges{chunk_.neighbor, unit_, value_, slope_, shape_.functions};
  const float *phi = saved_[l].phi, *v = saved_[l].v;
  float* v_out = vectors_after(l);
  std::copy(v + begin * 3 * f_, v + end * 3 * f_, v_out + begin * 3 * f_);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t from = chunk_.offset[i], to = chunk_.offset[i + 1];
    float *s_i = s_ + i * f_, *v_i = v_out + i * 3 * f_;
    if (layer.parts == 2)
      messages<2>(edges, from, to, layer.filter, f_, phi, v, s_i, v_i);
    else
      messages<3>(edges, from, to, layer.filter, f_, phi, v, s_i, v_i);
  }
  update(l, begin, end);
  if (l + 1 < shape_.depth) {
    make_phi(l + 1, begin, end);
  } else {
    read_out(begin, end, answer);
    update_back(l, begin, end);
  }
}

void Network::update(int l, int64_t begin, int64_t end) {
  const Layer& layer = w_.layers[l];
  const Saved& saved = saved_[l];
  const int64_t n = end - begin, f = f_, gates = layer.gates;
  float* v = vectors_after(l) + begin * 3 * f;
  float* s = s_ + begin * f;
  float* mixed = saved.mixed + begin * 6 * f;
  float *norm = saved.norm + begin * f, *inner = saved.inner + begin * f;
  float *before = saved.update + begin * f, *gate = saved.gate + begin * gates * f;
  float* joined = scratch(3 * n * f);
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

void Network::read_out(int64_t begin, int64_t end, const Answer& answer) {
  const int64_t n = end - begin, h = shape_.readout;
  float* before = scratch(2 * n * h);
  float* grad = before + n * h;
  product(n, s_ + begin * f_, f_, w_.readout, w_.readout_bias, false, before, h);
  for (int64_t i = 0; i < n; ++i) {
    Vec energy = Vec{};
    for (int64_t b = 0; b < h; b += kLanes) {
      const Vec x = load(before + i * h + b), last = load(w_.last + b);
      const Vec feature = silu(x);
      energy += feature * last;
      store(grad + i * h + b, last * silu_slope(x));
      for (int lane = 0; lane < kLanes && b + lane < answer.n_features; ++lane)
        answer.features[(begin + i) * answer.n_features + b + lane] = feature[lane];
    }
    answer.energy[begin + i] = sum(energy) + w_.last_bias[0];
  }
  product(n, grad, h, w_.readout_back, nullptr, false,
          grad_s_[side(shape_.depth)] + begin * f_, f_);
}

// Gradients by what the update of layer l was given, in place of those by what it returned.
void Network::update_back(int l, int64_t begin, int64_t end) {
  const Layer& layer = w_.layers[l];
  const Saved& saved = saved_[l];
  const int64_t n = end - begin, f = f_, gates = layer.gates;
  const bool last = gates == 2;
  float* gs = grad_s_[side(l + 1)] + begin * f;
  float* gv = grad_v_[side(l + 1)] + begin * 3 * f;
  const float* mixed = saved.mixed + begin * 6 * f;
  const float *norm = saved.norm + begin * f, *inner = saved.inner + begin * f;
  const float* gate = saved.gate + begin * gates * f;
  float* grad_gate = scratch(12 * n * f);
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

void Network::backward(int l, int64_t begin, int64_t end) {
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
  std::copy(gv + begin * 3 * f, gv + end * 3 * f, gv_in + begin * 3 * f);
  float* grad_phi = scratch(4 * n * f);
  float* grad_before = grad_phi + 3 * n * f;
  std::fill(grad_phi, grad_phi + 3 * n * f, 0.0f);
  for (int64_t i = begin; i < end; ++i) {
    g.grad_phi = grad_phi + (i - begin) * 3 * f;
    g.grad_v_in = gv_in + i * 3 * f;
    messages_back<3>(edges, chunk_.offset[i], chunk_.offset[i + 1], i, layer.filter, f, g);
  }
  product(n, grad_phi, 3 * f, layer.phi_back, nullptr, false, grad_before, f);
  multiply_by_slope(saved.before + begin * f, n * f, grad_before);
  std::copy(gs + begin * f, gs + end * f, gs_in + begin * f);
  product(n, grad_before, f, layer.hidden_back, nullptr, true, gs_in + begin * f, f);
  update_back(l - 1, begin, end);
}

void Network::gradient(int64_t begin, int64_t end, const Answer& answer) const {
  for (int64_t e = chunk_.offset[begin]; e < chunk_.offset[end]; ++e) {
    const double* vector = chunk_.edge_vector + 3 * e;
    const double inverse = 1.0 / std::sqrt(vector[0] * vector[0] + vector[1] * vector[1] +
                                           vector[2] * vector[2] + 1e-10);
    const float* g = grad_edge_ + 4 * e;
    double unit[3], along = 0.0;
    for (int x = 0; x < 3; ++x) {
      unit[x] = vector[x] * inverse;
      along += g[x] * unit[x];
    }
    // unit = x/r: its gradient is what g has across the edge, over r.
    for (int x = 0; x < 3; ++x)
      answer.gradient[3 * e + x] = (g[x] - along * unit[x]) * inverse + g[3] * unit[x];
  }
}

}  // namespace forcegate
