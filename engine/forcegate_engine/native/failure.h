// What goes wrong inside the library: thrown within it, and told as a code at its border.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include "forcegate.h"

namespace forcegate {

struct Failure {
  forcegate_code code;
  std::string text;
  int64_t structure = -1;
};

template <typename... Values>
[[noreturn]] void fail(forcegate_code code, const char* format, Values... values) {
  char text[400];
  if constexpr (sizeof...(values) == 0)
    std::snprintf(text, sizeof text, "%s", format);
  else
    std::snprintf(text, sizeof text, format, values...);
  throw Failure{code, text};
}

}  // namespace forcegate
