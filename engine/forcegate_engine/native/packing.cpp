// Every matrix is padded to whole vectors and cut into panels of at most three vectors, so that a
// product reads memory from front to back. Zeros in the padding stay zeros on the way through the
// network and back. The order is that of kernel/weights.h.
#include "packing.h"

#include <string>

namespace forcegate {

namespace {

int64_t padded(int64_t count, int64_t lanes) { return (count + lanes - 1) / lanes * lanes; }

class Packer {
 public:
  Packer(const Safetensors& file, int lanes) : file_(file), lanes_(lanes) {}

  // A linear layer, forward: `weight` [out, in] transposed, and `bias`.
  void linear(const std::string& name, int64_t out, int64_t in, int64_t rows = 1,
              int64_t columns = 1) {
    forward(file_.floats(name + ".weight", {out, in}), out, in, rows, columns);
    const std::vector<float> bias = file_.floats(name + ".bias", {out});
    for (int64_t c = 0; c < columns; ++c) vector(&bias[c * (out / columns)], out / columns);
  }

  void forward(const std::vector<float>& weight, int64_t out, int64_t in, int64_t rows = 1,
               int64_t columns = 1) {
    matrix(in, out, rows, columns, [&](int64_t r, int64_t c) { return weight[c * in + r]; });
  }

  // The same layer carrying gradients back.
  void back(const std::string& name, int64_t out, int64_t in, int64_t rows = 1,
            int64_t columns = 1) {
    const std::vector<float> weight = file_.floats(name + ".weight", {out, in});
    matrix(out, in, rows, columns, [&](int64_t r, int64_t c) { return weight[r * in + c]; });
  }

  void vector(const float* values, int64_t count) {
    result.insert(result.end(), values, values + count);
    result.resize(result.size() + padded(count, lanes_) - count);
  }

  // [vectors, radial functions, parts, lanes]; the bias belongs to the last function.
  void filter(const std::string& name, int64_t width, int64_t parts, int64_t n_radial) {
    const auto weight = file_.floats(name + ".weight", {parts * width, n_radial});
    const auto bias = file_.floats(name + ".bias", {parts * width});
    for (int64_t first = 0; first < width; first += lanes_)
      for (int64_t k = 0; k <= n_radial; ++k)
        for (int64_t p = 0; p < parts; ++p)
          for (int64_t f = first; f < first + lanes_; ++f) {
            const int64_t row = p * width + f;
            result.push_back(f >= width      ? 0.0f
                             : k == n_radial ? bias[row]
                                             : weight[row * n_radial + k]);
          }
  }

  std::vector<float> result;

 private:
  // M of x M [height, breadth], which has `rows` × `columns` blocks, in panels.
  template <typename At>
  void matrix(int64_t height, int64_t breadth, int64_t rows, int64_t columns, const At& at) {
    const int64_t h = height / rows, b = breadth / columns;
    const int64_t tall = padded(h, lanes_), wide = padded(b, lanes_);
    const int64_t vectors = columns * wide / lanes_, panels = (vectors + 2) / 3;
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t start = vectors * panel / panels * lanes_;
      const int64_t stop = vectors * (panel + 1) / panels * lanes_;
      for (int64_t row = 0; row < rows * tall; ++row)
        for (int64_t column = start; column < stop; ++column) {
          const int64_t r = row % tall, c = column % wide;
          const bool there = r < h && c < b;
          result.push_back(there ? at(row / tall * h + r, column / wide * b + c) : 0.0f);
        }
    }
  }

  const Safetensors& file_;
  const int64_t lanes_;
};

}  // namespace

Shape shape_of(const Sizes& sizes, int lanes) {
  return {static_cast<int>(padded(sizes.width, lanes)),
          static_cast<int>(padded(sizes.readout, lanes)),
          static_cast<int>(sizes.depth),
          static_cast<int>(sizes.n_radial + 1),
          static_cast<int>(sizes.elements),
          static_cast<int>(sizes.readout)};
}

std::vector<float> packed(const Safetensors& file, const Sizes& sizes, int lanes) {
  Packer pack(file, lanes);
  const int64_t f = sizes.width, h = sizes.readout;
  const std::vector<float> embedding = file.floats("embedding.weight", {sizes.elements, f});
  for (int64_t e = 0; e < sizes.elements; ++e) pack.vector(&embedding[e * f], f);
  for (int64_t l = 0; l < sizes.depth; ++l) {
    const std::string layer = "layers." + std::to_string(l) + ".";
    const std::string message = layer + "message.", update = layer + "update.";
    const int64_t parts = l == 0 ? 2 : 3, gates = l == sizes.depth - 1 ? 2 : 3;
    pack.linear(message + "hidden", f, f);
    pack.linear(message + "phi", parts * f, f, 1, parts);
    pack.filter(message + "filter", f, parts, sizes.n_radial);
    pack.forward(file.floats(update + "mix.weight", {2 * f, f}), 2 * f, f, 1, 2);
    pack.linear(update + "hidden", f, 2 * f, 2, 1);
    pack.linear(update + "gate", gates * f, f, 1, gates);
    pack.back(update + "gate", gates * f, f, gates, 1);
    pack.back(update + "hidden", f, 2 * f, 1, 2);
    pack.back(update + "mix", 2 * f, f, 2, 1);
    pack.back(message + "phi", parts * f, f, parts, 1);
    pack.back(message + "hidden", f, f);
  }
  pack.linear("readout.hidden", h, f);
  pack.back("readout.hidden", h, f);
  const int64_t outputs = sizes.charges ? 2 : 1;
  std::vector<float> last = file.floats("readout.last.weight", {outputs, h});
  std::vector<float> bias = file.floats("readout.last.bias", {outputs});
  last.resize(2 * h);
  bias.resize(2);
  pack.vector(&last[0], h);
  pack.vector(&last[h], h);
  pack.vector(bias.data(), 2);
  return pack.result;
}

}  // namespace forcegate
