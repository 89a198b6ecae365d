// What the kernels and the code around them share: plain structures, no function.
//
// A kernel is compiled for processors that others do not have. A function that both sides compiled
// would be one in the library, and might be the one that the others cannot run.
#pragma once

#include <cstdint>

namespace forcegate {

constexpr int kMostDepth = 16, kMostElements = 128;

struct Shape {
  int width;      // features per atom, a multiple of the kernel's lanes
  int readout;    // features that enter the last linear layer, a multiple of the lanes
  int depth;      // interactions
  int functions;  // radial functions, the constant one included
  int elements;
  int features;  // of `readout`, those that are there
};

// What two elements do to each other.
struct PairConstants {
  double inverse_width;  // 1/σ of two Gaussian charges, 1/Å
  double c6, c8;         // eV, with distances in Bohr
  double d6, d8;         // sixth and eighth power of the damping length in Bohr
  double kernel_end, kernel_end_slope;          // of the Coulomb kernel at the cutoff
  double dispersion_end, dispersion_end_slope;  // of the dispersion energy there
  double core_reach;                            // Å; nuclei repel each other within
  double core_charge, core_rate;                // COULOMB z z', and 1/screening length
};

struct Physics {
  double coulomb;  // eV Å / e²
  double bohr;     // Å
  double cutoff;   // Å; where pairs of periodic structures end
  double screening[4][2];
  int64_t elements;
  const PairConstants* pairs;  // [elements, elements]
};

// A student, in float32 what the network reads, in float64 the rest.
struct Student {
  Shape shape;
  double cutoff;                     // Å
  const float* packed;               // in the order of kernel/weights.h
  const double* reference_energies;  // [elements]
  const double* novelty_mean;        // [elements, features]
  const double* novelty_factor;      // [features, features]
  const double* uncertainty_factor;  // [features, features]
  const Physics* physics;            // null for interface 1
};

struct Range {
  int64_t begin, end;
};

// Atoms that pair sums take at a time.
constexpr int kCluster = 8;

// The atoms of one structure in clusters of one element each, near ones together if it is periodic.
// The last clusters of an element may have fewer, the first lanes; the others lie out of reach.
struct PairSpace {
  int64_t clusters;
  const double* positions;  // [clusters, 3, kCluster] in Å
  const int32_t* atom;      // [clusters, kCluster]; -1 where there is none
  const int32_t* count;     // [clusters]
  const int32_t* element;   // [clusters]
  // Of periodic structures alone: a box around each cluster, and the cell. Its vectors are
  // sorted, those of periodic axes first and the shortest of them first, and given a second time in
  // the frame of the boxes, where the first lies along x and the second in the plane of x and y.
  int axes;              // periodic ones
  const double* center;  // [clusters, 3]
  const double* half;    // [clusters, 3]: from there to its sides
  double cell[3][3], lower[3][3];
  double inverse[3];  // of the diagonal of `lower`
};

// Some structures with no edge between them. Atoms and edges count from the chunk's own first ones;
// edges [offset[i], offset[i + 1]) belong to atom i, and every pair is there in both directions.
struct Chunk {
  int64_t atoms, edges, structures;
  const int64_t* first_atom;  // [structures + 1]
  const int32_t* element;     // [atoms]
  const double* positions;    // [atoms, 3] in Å, wrapped along periodic axes
  const int64_t* offset;      // [atoms + 1]
  const int32_t* neighbor;    // [edges]
  const double* edge_vector;  // [edges, 3] in Å
  const PairSpace* pairs;     // [structures]; null for interface 1
};

// Of a chunk; whichever is null is not asked for.
struct Answers {
  double *energy, *forces, *virial, *charges, *uncertainty, *novelty;
};

// Threads that work together: calls task(context, index, worker) for 0 ≤ index < count, and returns
// when all are done. `worker` is below `workers`.
struct Team {
  int workers;
  void (*run)(Team& team, int64_t count, void (*task)(void*, int64_t, int), void* context);
};

struct Kernel {
  const char* name;
  int lanes;
  // How many bytes of memory `evaluate` needs, aligned to 64.
  int64_t (*need)(const Student& student, const Chunk& chunk, int workers);
  void (*evaluate)(const Student& student, const Chunk& chunk, const Answers& answers, Team& team,
                   void* memory);
};

}  // namespace forcegate
