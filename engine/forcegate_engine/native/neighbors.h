// Which atoms of one structure are near each other, images included.
#pragma once

#include <vector>

#include "lattice.h"
#include "plain.h"

namespace forcegate {

// Up to here, looking at all pairs of an open structure is cheaper than sorting it into boxes.
constexpr int64_t kAllPairsAtoms = 150;

// The atoms of a structure and the images that a reach makes neighbors of them, sorted into boxes.
// Boxes that hold nothing cost nothing, however far apart the others are.
class Space {
 public:
  // `positions` [atoms, 3] in Å, wrapped. With `boxes` 0 all atoms of an open structure lie in one
  // box; else the reach is as long as so many. Throws Failure with FORCEGATE_TOO_LARGE.
  void fill(const double* positions, int64_t atoms, const Lattice& lattice, double reach,
            int boxes);

  bool periodic;
  std::vector<double> x, y, z;     // of each copy
  std::vector<double> shift;       // [copies, 3]: from the atom to its image
  std::vector<int32_t> atom;       // of each copy
  std::vector<int64_t> rank;       // 2·atom, and 1 more where the image lies to the front
  std::vector<int64_t> self;       // [atoms]: the copy that is the atom itself
  std::vector<int32_t> box;        // [atoms]
  std::vector<Range> ranges;       // near each box
  std::vector<int64_t> first_range;

 private:
  void copies(const double* positions, int64_t atoms, const Lattice& lattice, double reach);
  void sort_into_boxes(const double* positions, int64_t atoms, double reach, int boxes);
};

// Directed edges of some atoms, sorted by center; of one pair both directions are listed, each with
// exactly the opposite vector. The arrays are longer than what is in them.
struct Edges {
  int64_t size = 0;
  std::vector<int64_t> count;     // of each center
  std::vector<int32_t> neighbor;  // [size …]
  std::vector<double> vector;     // [size …, 3] in Å, from center to neighbor

  void clear() {
    size = 0;
    count.clear();
  }
  void make_room(int64_t more) {
    if (size + more <= static_cast<int64_t>(neighbor.size())) return;
    const int64_t room = 2 * size + more;
    neighbor.resize(room);
    vector.resize(3 * room);
  }
};

// Adds the edges of the atoms begin … end, whose neighbors count from `first`.
// Throws Failure with FORCEGATE_TOO_LARGE.
void find_edges(const Space& space, const double* positions, double cutoff, int64_t begin,
                int64_t end, int64_t first, Edges& edges);

}  // namespace forcegate
