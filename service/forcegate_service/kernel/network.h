// PaiNN (Schütt et al. 2021, arXiv:2102.03150) with its gradient, for one chunk of a graph.
#pragma once

#include "message.h"
#include "radial.h"

namespace forcegate {

constexpr float kNormEpsilon = 1e-4f;

// A part of a graph whose atoms have neighbors within it only. Atoms and edges count from its own
// first ones; edges [offset[i], offset[i + 1]) belong to atom i.
struct Chunk {
  int64_t atoms, edges;
  const int64_t* element;
  const int64_t* offset;  // [atoms + 1]
  const int32_t* neighbor;
  const double* edge_vector;  // [edges, 3]
};

struct Answer {
  float* energy;     // [atoms]
  float* features;   // [atoms, n_features]
  double* gradient;  // [edges, 3]
  int64_t n_features;
};

// Memory that stays with its thread: what is freed after each call would be faulted in again. What
// is larger than any batch of several structures needs is given back.
class Arena {
 public:
  void reserve(int64_t floats) {
    if (static_cast<int64_t>(memory_.size()) < floats + kLanes) memory_.resize(floats + kLanes);
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    next_ = memory_.data() + (64 - address % 64) % 64 / sizeof(float);
  }
  void give_back() {
    if (memory_.size() > kKeptFloats) std::vector<float>().swap(memory_);
  }
  float* take(int64_t floats) {
    float* start = next_;
    next_ += (floats + 15) / 16 * 16;
    return start;
  }

 private:
  static constexpr size_t kKeptFloats = size_t{1} << 25;
  std::vector<float> memory_;
  float* next_ = nullptr;
};

class Network {
 public:
  Network(const Weights& weights, const Shape& shape, double cutoff, const Chunk& chunk,
          Arena& arena)
      : w_(weights), shape_(shape), cutoff_(cutoff), chunk_(chunk), f_(shape.width) {
    const int64_t n = chunk.atoms, e = chunk.edges, f = f_;
    // What is taken below, and room to align each array.
    arena.reserve(n * f * (12 + 19 * shape.depth) + e * (2 * shape.functions + 10) +
                  64 * (16 + 9 * shape.depth));
    unit_ = arena.take(4 * e);
    grad_edge_ = arena.take(4 * e);
    value_ = arena.take(e * shape.functions);
    slope_ = arena.take(e * shape.functions);
    s_ = arena.take(n * f);
    for (int k = 0; k < 2; ++k) {
      grad_s_[k] = arena.take(n * f);
      grad_v_[k] = arena.take(3 * n * f);
    }
    v_last_ = arena.take(3 * n * f);
    for (const Layer& layer : w_.layers) {
      Saved x;
      x.v = arena.take(3 * n * f);
      x.before = arena.take(n * f);
      x.phi = arena.take(n * layer.parts * f);
      x.mixed = arena.take(6 * n * f);
      x.norm = arena.take(n * f);
      x.inner = arena.take(n * f);
      x.update = arena.take(n * f);
      x.gate = arena.take(n * layer.gates * f);
      saved_.push_back(x);
    }
  }

  // The stages, each for atoms begin … end. Between two stages all atoms must have finished.
  void edges(int64_t begin, int64_t end);            // radial functions
  void embed(int64_t begin, int64_t end);            // features, and the first layer's phi
  void forward(int l, int64_t begin, int64_t end, const Answer& answer);  // messages, update
  void backward(int l, int64_t begin, int64_t end);  // the way back through both
  void gradient(int64_t begin, int64_t end, const Answer& answer) const;  // by edge vectors

 private:
  struct Saved {
    float *v, *before, *phi, *mixed, *norm, *inner, *update, *gate;
  };
  void make_phi(int l, int64_t begin, int64_t end);
  void update(int l, int64_t begin, int64_t end);
  void update_back(int l, int64_t begin, int64_t end);
  void read_out(int64_t begin, int64_t end, const Answer& answer);
  float* vectors_after(int l) {
    return l + 1 < shape_.depth ? saved_[l + 1].v : v_last_;
  }
  // Gradients by the features after layer l are in one of two places, by turns.
  int side(int l) const { return l & 1; }

  const Weights& w_;
  const Shape& shape_;
  const double cutoff_;
  const Chunk& chunk_;
  const int64_t f_;
  std::vector<Saved> saved_;
  float *unit_, *grad_edge_, *value_, *slope_, *s_, *v_last_;
  float *grad_s_[2], *grad_v_[2];
};

}  // namespace forcegate
