// The weights of a student as one flat array, in the order in which packing.cpp writes them.
#pragma once

#include "../plain.h"
#include "product.h"

namespace forcegate::FORCEGATE_KERNEL {

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
  Layer layers[kMostDepth];
  Packed readout, readout_back;
  const float *readout_bias, *energy, *charge;  // the last two [readout]
  const float* last_bias;                       // of energy and charge

  Weights(const float* data, const Shape& shape) {
    const int f = shape.width;
    embedding = take(data, static_cast<int64_t>(shape.elements) * f);
    for (int l = 0; l < shape.depth; ++l) {
      Layer& x = layers[l];
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
    }
    readout = matrix(data, f, shape.readout);
    readout_bias = take(data, shape.readout);
    readout_back = matrix(data, shape.readout, f);
    energy = take(data, shape.readout);
    charge = take(data, shape.readout);
    last_bias = data;
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

}  // namespace forcegate::FORCEGATE_KERNEL
