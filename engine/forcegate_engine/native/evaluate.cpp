#include "evaluate.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "clusters.h"
#include "failure.h"
#include "gate.h"
#include "neighbors.h"
#include "threads.h"

namespace forcegate {

namespace {

// Atoms that are computed together: enough rows to use the weights well, few enough that what the
// way back needs stays in the second-level cache.
constexpr int64_t kChunkAtoms = 24;
// Structures from here on are shared by threads; below, waiting for each other costs more.
constexpr int64_t kSharedAtoms = 64, kAlwaysSharedAtoms = 256;
constexpr int64_t kRowsOfSearch = 64;
constexpr int64_t kMostBytes = int64_t{1} << 34, kKeptBytes = int64_t{1} << 26;

// Memory that stays with its thread: what is freed after each call would be faulted in again. What
// is larger than any batch of several structures needs is given back.
class Workspace {
 public:
  void* block(int64_t bytes) {
    if (bytes > size_) {
      memory_.reset();
      memory_.reset(new char[bytes + 64]);
      size_ = bytes;
    }
    const auto address = reinterpret_cast<uintptr_t>(memory_.get());
    return memory_.get() + (64 - address % 64) % 64;
  }
  void give_back() {
    if (size_ <= kKeptBytes) return;
    *this = Workspace();
  }

  std::vector<double> positions;
  std::vector<int64_t> offset, first_atom;
  std::vector<PairSpace> pairs;
  std::vector<std::unique_ptr<Clusters>> clusters;  // of each structure
  Space space;
  Edges edges;

 private:
  std::unique_ptr<char[]> memory_;
  int64_t size_ = 0;
};

struct Batch {
  const forcegate_model& model;
  const forcegate_structures& structures;
  const forcegate_answers& answers;
  const std::vector<int64_t>& first_atom;
  const std::vector<int32_t>& element;
};

// Adds the edges of one structure, whose atoms count from `first` in the chunk.
void search(const Space& space, const double* positions, double cutoff, int64_t atoms,
            int64_t first, Edges& edges, Team& team) {
  if (team.workers < 2) {
    find_edges(space, positions, cutoff, 0, atoms, first, edges);
    return;
  }
  const int64_t blocks = (atoms + kRowsOfSearch - 1) / kRowsOfSearch;
  std::vector<Edges> found(blocks);
  auto task = [&](int64_t b) {
    find_edges(space, positions, cutoff, atoms * b / blocks, atoms * (b + 1) / blocks, first,
               found[b]);
  };
  team.run(
      team, blocks,
      [](void* context, int64_t b, int) { (*static_cast<decltype(task)*>(context))(b); }, &task);
  for (const Edges& part : found) {
    edges.count.insert(edges.count.end(), part.count.begin(), part.count.end());
    edges.make_room(part.size);
    std::copy_n(part.neighbor.begin(), part.size, edges.neighbor.begin() + edges.size);
    std::copy_n(part.vector.begin(), 3 * part.size, edges.vector.begin() + 3 * edges.size);
    edges.size += part.size;
  }
}

// Structure b as the next of the chunk in `work`.
void add_structure(const Batch& batch, int64_t b, Workspace& work, Team& team) {
  const forcegate_structures& s = batch.structures;
  const Student& student = batch.model.student;
  const int64_t begin = batch.first_atom[b], atoms = batch.first_atom[b + 1] - begin;
  const int64_t first = work.first_atom.back();
  const Lattice lattice(s.cells ? s.cells + 9 * b : nullptr, s.pbc ? s.pbc + 3 * b : nullptr);
  double* positions = &work.positions[3 * first];
  std::memcpy(positions, s.positions + 3 * begin, 3 * atoms * sizeof(double));
  for (int64_t i = 0; lattice.periodic() && i < atoms; ++i)
    lattice.wrap(positions + 3 * i, positions + 3 * i);
  const bool boxes = lattice.periodic() || atoms > kAllPairsAtoms;
  work.space.fill(positions, atoms, lattice, student.cutoff, boxes);
  search(work.space, positions, student.cutoff, atoms, first, work.edges, team);
  if (student.physics) {
    const size_t k = work.pairs.size();
    if (work.clusters.size() <= k) work.clusters.push_back(std::make_unique<Clusters>());
    work.clusters[k]->fill(positions, &batch.element[begin], atoms, lattice,
                           student.physics->cutoff);
    work.pairs.push_back(work.clusters[k]->view());
  }
  work.first_atom.push_back(first + atoms);
}

// Structures begin … end as one chunk.
void evaluate_chunk(const Batch& batch, int64_t begin, int64_t end, Team& team) {
  thread_local Workspace work;
  const int64_t first = batch.first_atom[begin], atoms = batch.first_atom[end] - first;
  work.positions.resize(3 * atoms);
  work.first_atom.assign(1, 0);
  work.pairs.clear();
  work.edges.clear();
  for (int64_t b = begin; b < end; ++b) {
    try {
      add_structure(batch, b, work, team);
    } catch (Failure& failure) {
      failure.structure = b;
      throw;
    }
  }
  work.offset.assign(1, 0);
  for (const int64_t count : work.edges.count) work.offset.push_back(work.offset.back() + count);
  const Student& student = batch.model.student;
  const Chunk chunk{atoms,
                    work.offset.back(),
                    end - begin,
                    work.first_atom.data(),
                    batch.element.data() + first,
                    work.positions.data(),
                    work.offset.data(),
                    work.edges.neighbor.data(),
                    work.edges.vector.data(),
                    student.physics ? work.pairs.data() : nullptr};
  const auto from = [](double* values, int64_t index) { return values ? values + index : nullptr; };
  const forcegate_answers& a = batch.answers;
  const Answers answers{from(a.energy, begin),       from(a.forces, 3 * first),
                        from(a.virial, 9 * begin),   from(a.charges, first),
                        from(a.energy_uncertainty, begin), from(a.atom_novelty, first)};
  const int64_t need = batch.model.kernel.need(student, chunk, team.workers);
  if (need > kMostBytes)
    throw Failure{FORCEGATE_TOO_LARGE, "a structure that takes more than 16 GiB of memory", begin};
  batch.model.kernel.evaluate(student, chunk, answers, team, work.block(need));
  work.give_back();
}

}  // namespace

void evaluate(const forcegate_model& model, const forcegate_structures& structures,
              const forcegate_answers& answers, int32_t threads) {
  std::vector<int32_t> element;
  const std::vector<int64_t> first_atom = check(model, structures, answers, threads, element);
  const Batch batch{model, structures, answers, first_atom, element};
  const auto atoms_of = [&](int64_t b) { return first_atom[b + 1] - first_atom[b]; };
  // Consecutive small structures together.
  std::vector<Range> chunks;
  int64_t largest = 0;
  for (int64_t b = 0; b < structures.n_structures; ++b) {
    largest = std::max(largest, atoms_of(b));
    if (chunks.empty() || atoms_of(b) >= kChunkAtoms ||
        first_atom[b] - first_atom[chunks.back().begin] >= kChunkAtoms)
      chunks.push_back({b, b + 1});
    else
      chunks.back().end = b + 1;
  }
  const int64_t count = static_cast<int64_t>(chunks.size());
  Team one = alone();
  if (threads == 1 || (count < 2 && largest < kSharedAtoms)) {
    for (const Range& chunk : chunks) evaluate_chunk(batch, chunk.begin, chunk.end, one);
  } else {
    SharedTeam shared(threads);
    Team& team = shared.team();
    // Large structures one after the other, by all threads; then the others, each by one.
    const int64_t least = count < team.workers ? kSharedAtoms : kAlwaysSharedAtoms;
    std::vector<Range> rest;
    for (const Range& chunk : chunks) {
      if (team.workers > 1 && first_atom[chunk.end] - first_atom[chunk.begin] >= least)
        evaluate_chunk(batch, chunk.begin, chunk.end, team);
      else
        rest.push_back(chunk);
    }
    auto task = [&](int64_t k) {
      Team one_of_them = alone();
      evaluate_chunk(batch, rest[k].begin, rest[k].end, one_of_them);
    };
    team.run(
        team, static_cast<int64_t>(rest.size()),
        [](void* context, int64_t k, int) { (*static_cast<decltype(task)*>(context))(k); }, &task);
  }
  check_answers(structures, answers, first_atom);
}

}  // namespace forcegate
