// Reading the safetensors format: a length, a header in JSON, and one block of data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace forcegate {

// Tensors by name, and texts by name. Offsets, types and shapes are checked when it is made; what
// `data` points to must live as long as this does.
class Safetensors {
 public:
  // Throws Failure with FORCEGATE_BAD_WEIGHTS.
  Safetensors(const void* bytes, size_t size);

  // The values of a tensor, which must have that shape, as doubles or floats or 64-bit integers.
  std::vector<float> floats(const std::string& name, const std::vector<int64_t>& shape) const;
  std::vector<double> doubles(const std::string& name, const std::vector<int64_t>& shape) const;
  std::vector<int64_t> integers(const std::string& name, const std::vector<int64_t>& shape) const;
  // A whole number among the texts, within bounds.
  int64_t number(const std::string& name, int64_t least, int64_t most) const;
  const std::string& text(const std::string& name) const;
  // What is left over: a file with more in it is of a later form than this reader's.
  void require_all_read() const;

 private:
  struct Tensor {
    std::string type;
    std::vector<int64_t> shape;
    uint64_t begin, end;
    mutable bool read = false;
  };
  template <typename T>
  std::vector<T> values(const std::string& name, const char* type,
                        const std::vector<int64_t>& shape) const;

  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> texts_;
  const char* data_;
  friend class HeaderReader;
};

}  // namespace forcegate
