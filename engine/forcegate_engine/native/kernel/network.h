// PaiNN (Schütt et al. 2021, arXiv:2102.03150) with its gradient, for one chunk of structures.
#pragma once

#include "memory.h"
#include "message.h"
#include "radial.h"

namespace forcegate::FORCEGATE_KERNEL {

constexpr float kNormEpsilon = 1e-4f;
// Rows of one block of atoms: enough to use the weights well.
constexpr int64_t kMostRows = 32, kLeastRows = 8;
// The stage that needs most scratch, the way back through an update.
constexpr int64_t kScratchWidths = 12;

// The stages, each for atoms begin … end. Between two stages all atoms must have finished.
class Network {
 public:
  Network(const Weights& weights, const Student& student, const Chunk& chunk, int workers,
          Memory& memory);

  void edges(int64_t begin, int64_t end);                       // radial functions
  void embed(int64_t begin, int64_t end, int worker);           // features, first layer's phi
  void forward(int l, int64_t begin, int64_t end, int worker);  // messages, update, readout
  void turn(int64_t begin, int64_t end, int worker);            // the way back to the last update
  void backward(int l, int64_t begin, int64_t end, int worker);
  void gradient(int64_t begin, int64_t end) const;  // by the edge vectors

  // What the stages leave behind.
  float *energy, *charge;  // [atoms]; charge is not written without charges
  float* features;         // [atoms, readout]
  // What the way back of a student with charges starts from: dE/dq [atoms].
  float* potential;
  double* edge_gradient;  // [edges, 3], dE/d(edge vector)

 private:
  struct Saved {
    float *v, *before, *phi, *mixed, *norm, *inner, *update, *gate;
  };
  // Calls work(first, count) for at most eight edges of one atom at a time. Compilers round lanes of
  // a vector differently where they cut it in two: an edge must have the same lane in every batch.
  template <typename Work>
  void in_eights(int64_t begin, int64_t end, const Work& work) const {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t first = chunk_.offset[i]; first < chunk_.offset[i + 1]; first += kEdges) {
        const int64_t rest = chunk_.offset[i + 1] - first;
        work(first, static_cast<int>(rest < kEdges ? rest : kEdges));
      }
  }
  void make_phi(int l, int64_t begin, int64_t end, int worker);
  void update(int l, int64_t begin, int64_t end, int worker);
  void update_back(int l, int64_t begin, int64_t end, int worker);
  void read_out(int64_t begin, int64_t end);
  float* vectors_after(int l) { return l + 1 < shape_.depth ? saved_[l + 1].v : v_last_; }
  // Gradients by the features after layer l are in one of two places, by turns.
  int side(int l) const { return l & 1; }
  float* scratch(int worker) { return scratch_ + worker * scratch_size_; }

  const Weights& w_;
  const Shape& shape_;
  const double cutoff_;
  const Chunk& chunk_;
  const bool charges_;
  const int64_t f_;
  Saved saved_[kMostDepth];
  float *unit_, *grad_edge_, *value_, *slope_, *s_, *v_last_, *read_, *scratch_;
  int64_t scratch_size_;
  float *grad_s_[2], *grad_v_[2];
};

inline Network::Network(const Weights& weights, const Student& student, const Chunk& chunk,
                        int workers, Memory& memory)
    : w_(weights),
      shape_(student.shape),
      cutoff_(student.cutoff),
      chunk_(chunk),
      charges_(student.physics != nullptr),
      f_(student.shape.width) {
  const int64_t n = chunk.atoms, e = chunk.edges, f = f_;
  unit_ = memory.take<float>(4 * e);
  grad_edge_ = memory.take<float>(4 * e);
  value_ = memory.take<float>(e * shape_.functions);
  slope_ = memory.take<float>(e * shape_.functions);
  s_ = memory.take<float>(n * f);
  for (int k = 0; k < 2; ++k) {
    grad_s_[k] = memory.take<float>(n * f);
    grad_v_[k] = memory.take<float>(3 * n * f);
  }
  v_last_ = memory.take<float>(3 * n * f);
  for (int l = 0; l < shape_.depth; ++l) {
    Saved& x = saved_[l];
    x.v = memory.take<float>(3 * n * f);
    x.before = memory.take<float>(n * f);
    x.phi = memory.take<float>(n * w_.layers[l].parts * f);
    x.mixed = memory.take<float>(6 * n * f);
    x.norm = memory.take<float>(n * f);
    x.inner = memory.take<float>(n * f);
    x.update = memory.take<float>(n * f);
    x.gate = memory.take<float>(n * w_.layers[l].gates * f);
  }
  read_ = memory.take<float>(n * shape_.readout);
  features = memory.take<float>(n * shape_.readout);
  energy = memory.take<float>(n);
  charge = memory.take<float>(n);
  potential = memory.take<float>(n);
  edge_gradient = memory.take<double>(3 * e);
  const int64_t widest = f > shape_.readout ? f : shape_.readout;
  scratch_size_ = kScratchWidths * kMostRows * widest;
  scratch_ = memory.take<float>(workers * scratch_size_);
}

}  // namespace forcegate::FORCEGATE_KERNEL
