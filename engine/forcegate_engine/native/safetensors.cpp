#include "safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "failure.h"
#include "header.h"

namespace forcegate {

namespace {

constexpr uint64_t kMostHeader = 1 << 20;

int64_t size_of(const std::string& type) {
  if (type == "F64" || type == "I64") return 8;
  if (type == "F32") return 4;
  fail(FORCEGATE_BAD_WEIGHTS, "a tensor of type %s; expected F32, F64 or I64", type.c_str());
}

std::string told(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t k = 0; k < shape.size(); ++k)
    text += (k ? ", " : "") + std::to_string(shape[k]);
  return text + "]";
}

}  // namespace

Safetensors::Safetensors(const void* bytes, size_t size) {
  static_assert(std::endian::native == std::endian::little);
  uint64_t length = 0;
  if (size < 8) fail(FORCEGATE_BAD_WEIGHTS, "%zu bytes; expected at least 8", size);
  std::memcpy(&length, bytes, 8);
  if (length > size - 8 || length > kMostHeader)
    fail(FORCEGATE_BAD_WEIGHTS, "a header of %llu bytes in %zu; expected a safetensors file",
         static_cast<unsigned long long>(length), size);
  const char* start = static_cast<const char*>(bytes) + 8;
  std::map<std::string, HeaderEntry> entries;
  HeaderReader(start, start + length).read(entries, texts_);
  data_ = start + length;
  const uint64_t available = size - 8 - length;
  std::vector<std::pair<uint64_t, uint64_t>> pieces;
  for (auto& [name, entry] : entries) {
    uint64_t count = size_of(entry.type);
    for (const int64_t extent : entry.shape) {
      if (extent && count > available / static_cast<uint64_t>(extent))
        fail(FORCEGATE_BAD_WEIGHTS, "%.100s of shape %.100s is larger than the file",
             name.c_str(), told(entry.shape).c_str());
      count *= static_cast<uint64_t>(extent);
    }
    if (entry.end > available || entry.begin > entry.end || entry.end - entry.begin != count)
      fail(FORCEGATE_BAD_WEIGHTS, "%.100s at %llu to %llu of %llu bytes, with %llu bytes to hold",
           name.c_str(), static_cast<unsigned long long>(entry.begin),
           static_cast<unsigned long long>(entry.end), static_cast<unsigned long long>(available),
           static_cast<unsigned long long>(count));
    pieces.emplace_back(entry.begin, entry.end);
    tensors_[name] = Tensor{entry.type, entry.shape, entry.begin, entry.end};
  }
  std::sort(pieces.begin(), pieces.end());
  uint64_t next = 0;
  for (const auto& [begin, end] : pieces) {
    if (begin != next) fail(FORCEGATE_BAD_WEIGHTS, "tensors that overlap, or leave bytes between");
    next = end;
  }
  if (next != available) fail(FORCEGATE_BAD_WEIGHTS, "bytes after the last tensor");
}

template <typename T>
std::vector<T> Safetensors::values(const std::string& name, const char* type,
                                   const std::vector<int64_t>& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    fail(FORCEGATE_BAD_WEIGHTS, "no tensor %.100s in the weights", name.c_str());
  const Tensor& tensor = found->second;
  if (tensor.type != type || tensor.shape != shape)
    fail(FORCEGATE_BAD_WEIGHTS, "%.100s is %s %.100s; expected %s %.100s", name.c_str(),
         tensor.type.c_str(), told(tensor.shape).c_str(), type, told(shape).c_str());
  std::vector<T> values((tensor.end - tensor.begin) / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), data_ + tensor.begin, tensor.end - tensor.begin);
  if constexpr (std::is_floating_point_v<T>)
    for (const T value : values)
      if (!std::isfinite(value))
        fail(FORCEGATE_BAD_WEIGHTS, "%.100s holds what is not finite", name.c_str());
  tensor.read = true;
  return values;
}

std::vector<float> Safetensors::floats(const std::string& name,
                                       const std::vector<int64_t>& shape) const {
  return values<float>(name, "F32", shape);
}

std::vector<double> Safetensors::doubles(const std::string& name,
                                         const std::vector<int64_t>& shape) const {
  return values<double>(name, "F64", shape);
}

std::vector<int64_t> Safetensors::integers(const std::string& name,
                                           const std::vector<int64_t>& shape) const {
  return values<int64_t>(name, "I64", shape);
}

const std::string& Safetensors::text(const std::string& name) const {
  const auto found = texts_.find(name);
  if (found == texts_.end())
    fail(FORCEGATE_BAD_WEIGHTS, "no %.100s in the metadata of the weights", name.c_str());
  return found->second;
}

int64_t Safetensors::number(const std::string& name, int64_t least, int64_t most) const {
  const std::string& digits = text(name);
  int64_t value = 0;
  bool whole = !digits.empty() && digits.size() < 10;
  for (const char c : digits) {
    whole = whole && c >= '0' && c <= '9';
    if (whole) value = 10 * value + (c - '0');
  }
  if (!whole || value < least || value > most)
    fail(FORCEGATE_BAD_WEIGHTS, "%.100s %.40s in the metadata; expected %lld to %lld",
         name.c_str(), digits.c_str(), static_cast<long long>(least),
         static_cast<long long>(most));
  return value;
}

void Safetensors::require_all_read() const {
  for (const auto& [name, tensor] : tensors_)
    if (!tensor.read)
      fail(FORCEGATE_BAD_WEIGHTS, "a tensor %.100s that this release does not know", name.c_str());
}

}  // namespace forcegate
