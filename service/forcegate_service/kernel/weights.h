// The weights of a PaiNN as one flat array, in the order in which packing.py writes them.
#pragma once

#include <vector>

#include "product.h"

namespace forcegate {

struct Shape {
  int width;      // features per atom, a multiple of LANES
  int readout;    // features that enter the last linear layer, a multiple of LANES
  int depth;      // interactions
  int functions;  // radial functions, the constant one included
};

// ..._back are the transposed matrices, which carry gradients.
struct Layer {
  Packed hidden, phi;
  const float *hidden_bias, *phi_bias;
  const float* filter;  // [width / LANES][functions][parts][LANES]
  Packed mix, update, gate;
  const float *update_bias, *gate_bias;
  Packed gate_back, update_back, mix_back, phi_back, hidden_back;
  int parts;  // kinds of messages: 2 in the first layer, where the vectors are zero
  int gates;  // 2 in the last layer, whose vectors nobody reads
};

struct Weights {
  const float* embedding;  // [elements, width]
  std::vector<Layer> layers;
  Packed readout, readout_back;
  const float *readout_bias, *last, *last_bias;

  Weights(const float* data, const Shape& shape, int64_t elements) {
    const int f = shape.width;
    embedding = take(data, elements * f);
    for (int l = 0; l < shape.depth; ++l) {
      Layer x;
      x.parts = l == 0 ? 2 : 3;
      x.gates = l == shape.depth - 1 ? 2 : 3;
      x.hidden = matrix(data, f, f);
      x.hidden_bias = take(data, f);
      x.phi = matrix(data, f, x.parts * f);
      x.phi_bias = take(data, x.parts * f);
      x.filter = take(data, static_cast<int64_t>(shape.functions) * x.parts * f);
      x.mix = matrix(data, f, 2 * f);
      x.update = matrix(data, 2 * f, f);
      x.update_bias = take(data, f);
      x.gate = matrix(data, f, x.gates * f);
      x.gate_bias = take(data, x.gates * f);
      x.gate_back = matrix(data, x.gates * f, f);
      x.update_back = matrix(data, f, 2 * f);
      x.mix_back = matrix(data, 2 * f, f);
      x.phi_back = matrix(data, x.parts * f, f);
      x.hidden_back = matrix(data, f, f);
      layers.push_back(x);
    }
    readout = matrix(data, f, shape.readout);
    readout_bias = take(data, shape.readout);
    readout_back = matrix(data, shape.readout, f);
    last = take(data, shape.readout);
    last_bias = take(data, kLanes);
    end = data;
  }

  const float* end;  // one past the last weight

  // How many floats the constructor takes, in its order.
  static int64_t count(const Shape& shape, int64_t elements) {
    const int64_t f = shape.width, r = shape.readout;
    int64_t total = elements * f;
    for (int l = 0; l < shape.depth; ++l) {
      const int64_t p = (l == 0 ? 2 : 3) * f, g = (l == shape.depth - 1 ? 2 : 3) * f;
      total += f * f + f + f * p + p + shape.functions * p;
      total += 2 * f * f + 2 * f * f + f + f * g + g;
      total += g * f + 2 * f * f + 2 * f * f + p * f + f * f;
    }
    return total + f * r + r + r * f + r + kLanes;
  }

 private:
  static const float* take(const float*& data, int64_t count) {
    const float* start = data;
    data += count;
    return start;
  }
  static Packed matrix(const float*& data, int rows, int columns) {
    return {take(data, static_cast<int64_t>(rows) * columns), rows, columns / kLanes};
  }
};

}  // namespace forcegate
