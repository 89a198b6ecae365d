// One block of memory, handed out in pieces. Without a block it only counts what would be needed.
#pragma once

#include <cstdint>

#include "vectors.h"

namespace forcegate::FORCEGATE_KERNEL {

class Memory {
 public:
  explicit Memory(void* block) : start_(static_cast<char*>(block)) {}
  template <typename T>
  T* take(int64_t count) {
    char* piece = start_ ? start_ + used_ : nullptr;
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return reinterpret_cast<T*>(piece);
  }
  int64_t used() const { return used_; }

 private:
  char* start_;
  int64_t used_ = 0;
};

}  // namespace forcegate::FORCEGATE_KERNEL
