// One evaluation of a chunk, by the stages of the network. Compiled once for each kernel: with
// FORCEGATE_KERNEL, its name, and LANES, the floats in one of its vectors.

#include "backward.h"
#include "confidence.h"
#include "pair_field.h"

namespace forcegate::FORCEGATE_KERNEL {
namespace {

// Calls f(index, worker) for 0 ≤ index < count.
template <typename F>
void in_parallel(Team& team, int64_t count, const F& f) {
  if (team.workers < 2 || count < 2) {
    for (int64_t i = 0; i < count; ++i) f(i, 0);
    return;
  }
  team.run(
      team, count,
      [](void* context, int64_t index, int worker) {
        (*static_cast<const F*>(context))(index, worker);
      },
      const_cast<F*>(&f));
}

// Calls stage(begin, end, worker) for blocks of the atoms.
template <typename Stage>
void in_blocks(Team& team, int64_t atoms, const Stage& stage) {
  int64_t rows = (atoms + team.workers - 1) / team.workers;
  rows = rows < kLeastRows ? kLeastRows : rows > kMostRows ? kMostRows : rows;
  const int64_t blocks = (atoms + rows - 1) / rows;
  in_parallel(team, blocks, [&](int64_t b, int worker) {
    stage(atoms * b / blocks, atoms * (b + 1) / blocks, worker);
  });
}

// Forces [atoms, 3] and −Σ edge vector ⊗ gradient [9] of one structure. What an edge gives to its
// center it takes from its neighbor: the net force vanishes.
void collect(const Chunk& chunk, const double* gradient, int64_t begin, int64_t end,
             double* forces, double* virial) {
  for (int64_t i = begin; i < end; ++i) {
    double by_center[3] = {}, outer[9] = {};
    for (int64_t e = chunk.offset[i]; e < chunk.offset[i + 1]; ++e) {
      const double *g = gradient + 3 * e, *x = chunk.edge_vector + 3 * e;
      double* to = forces + 3 * chunk.neighbor[e];
      for (int a = 0; a < 3; ++a) {
        by_center[a] += g[a];
        to[a] -= g[a];
        for (int b = 0; b < 3; ++b) outer[3 * a + b] += x[a] * g[b];
      }
    }
    for (int a = 0; a < 3; ++a) forces[3 * i + a] += by_center[a];
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b) virial[3 * a + b] -= 0.5 * (outer[3 * a + b] + outer[3 * b + a]);
  }
}

struct Sums {
  double *energy, *forces, *virial;  // [structures], [atoms, 3], [structures, 9]
};

void take_all(const Chunk& chunk, Memory& memory, Sums& sums) {
  sums.energy = memory.take<double>(chunk.structures);
  sums.forces = memory.take<double>(3 * chunk.atoms);
  sums.virial = memory.take<double>(9 * chunk.structures);
}

int64_t need(const Student& student, const Chunk& chunk, int workers) {
  Memory memory(nullptr);
  const Weights weights(student.packed, student.shape);
  Network network(weights, student, chunk, workers, memory);
  Sums sums;
  take_all(chunk, memory, sums);
  int64_t most = memory.used();
  for (int64_t b = 0; chunk.pairs && b < chunk.structures; ++b) {
    Memory rest = memory;
    const PairField field(*student.physics, chunk.pairs[b], rest);
    most = rest.used() > most ? rest.used() : most;
  }
  return most;
}

void evaluate(const Student& student, const Chunk& chunk, const Answers& answers, Team& team,
              void* block) {
  Memory memory(block);
  const Weights weights(student.packed, student.shape);
  Network network(weights, student, chunk, team.workers, memory);
  Sums sums;
  take_all(chunk, memory, sums);
  const int depth = student.shape.depth;
  in_blocks(team, chunk.atoms, [&](int64_t begin, int64_t end, int worker) {
    network.edges(begin, end);
    network.embed(begin, end, worker);
  });
  for (int l = 0; l < depth; ++l)
    in_blocks(team, chunk.atoms, [&](int64_t begin, int64_t end, int worker) {
      network.forward(l, begin, end, worker);
    });

  std::memset(sums.forces, 0, 3 * chunk.atoms * sizeof(double));
  std::memset(sums.virial, 0, 9 * chunk.structures * sizeof(double));
  for (int64_t b = 0; b < chunk.structures; ++b) {
    const int64_t begin = chunk.first_atom[b], end = chunk.first_atom[b + 1];
    double atomic = 0.0, reference = 0.0, pairs = 0.0;
    for (int64_t i = begin; i < end; ++i) {
      atomic += network.energy[i];
      reference += student.reference_energies[chunk.element[i]];
    }
    if (student.physics) {
      // One structure's after the other's, in the same memory.
      Memory rest = memory;
      PairField field(*student.physics, chunk.pairs[b], rest);
      field.prepare(network.charge + begin);
      in_parallel(team, field.parts(), [&](int64_t p, int) { field.part(p); });
      field.collect(pairs, sums.forces + 3 * begin, sums.virial + 9 * b,
                    network.potential + begin);
    }
    // Sums of their own: the small energies keep their digits beside thousands of eV.
    sums.energy[b] = atomic + pairs + reference;
  }

  in_blocks(team, chunk.atoms, [&](int64_t begin, int64_t end, int worker) {
    network.turn(begin, end, worker);
  });
  for (int l = depth - 1; l >= 0; --l)
    in_blocks(team, chunk.atoms, [&](int64_t begin, int64_t end, int worker) {
      network.backward(l, begin, end, worker);
    });
  const int64_t stride = student.shape.readout;
  in_blocks(team, chunk.atoms, [&](int64_t begin, int64_t end, int) {
    network.gradient(begin, end);
    for (int64_t i = begin; answers.novelty && i < end; ++i)
      answers.novelty[i] = novelty(student, network.features + i * stride, chunk.element[i]);
  });

  for (int64_t b = 0; b < chunk.structures; ++b) {
    const int64_t begin = chunk.first_atom[b], end = chunk.first_atom[b + 1];
    collect(chunk, network.edge_gradient, begin, end, sums.forces, sums.virial + 9 * b);
    if (answers.uncertainty)
      answers.uncertainty[b] =
          uncertainty(student, network.features + begin * stride, stride, end - begin);
  }
  const auto give = [](const double* from, int64_t count, double* to) {
    if (to) std::memcpy(to, from, count * sizeof(double));
  };
  give(sums.energy, chunk.structures, answers.energy);
  give(sums.forces, 3 * chunk.atoms, answers.forces);
  give(sums.virial, 9 * chunk.structures, answers.virial);
  for (int64_t i = 0; answers.charges && i < chunk.atoms; ++i)
    answers.charges[i] = network.charge[i];
}

#define FORCEGATE_TEXT_OF(name) #name
#define FORCEGATE_TEXT(name) FORCEGATE_TEXT_OF(name)

}  // namespace

extern const Kernel kernel;
const Kernel kernel{FORCEGATE_TEXT(FORCEGATE_KERNEL), kLanes, need, evaluate};

}  // namespace forcegate::FORCEGATE_KERNEL
