// The header of a safetensors file: as much JSON as the format has, and nothing more.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace forcegate {

struct HeaderEntry {
  std::string type;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

class HeaderReader {
 public:
  HeaderReader(const char* at, const char* end) : at_(at), end_(end) {}
  // Throws Failure with FORCEGATE_BAD_WEIGHTS, for a name that is there twice too.
  void read(std::map<std::string, HeaderEntry>& entries,
            std::map<std::string, std::string>& texts);

 private:
  template <typename Item>
  void items(char open, char close, const Item& item);
  HeaderEntry entry();
  std::string string();
  uint64_t number();
  void space();
  void expect(char c);
  bool take(char c);

  const char *at_, *end_;
};

}  // namespace forcegate
