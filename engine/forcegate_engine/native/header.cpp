#include "header.h"

#include "failure.h"

namespace forcegate {

namespace {

constexpr size_t kMostName = 200, kMostDimensions = 8, kMostEntries = 10000;

[[noreturn]] void refuse(const char* expected) {
  fail(FORCEGATE_BAD_WEIGHTS, "a header that is not safetensors: expected %s", expected);
}

}  // namespace

void HeaderReader::read(std::map<std::string, HeaderEntry>& entries,
                        std::map<std::string, std::string>& texts) {
  bool told = false;
  items('{', '}', [&] {
    const std::string name = string();
    expect(':');
    if (name == "__metadata__") {
      if (told) refuse("metadata once");
      told = true;
      items('{', '}', [&] {
        const std::string key = string();
        expect(':');
        if (!texts.emplace(key, string()).second) refuse("every key once");
      });
    } else if (!entries.emplace(name, entry()).second || entries.size() > kMostEntries) {
      refuse("every name once");
    }
  });
  space();
  if (at_ != end_) refuse("nothing after it");
}

HeaderEntry HeaderReader::entry() {
  HeaderEntry entry;
  int seen = 0;
  items('{', '}', [&] {
    const std::string key = string();
    expect(':');
    if (key == "dtype" && !(seen & 1)) {
      seen |= 1;
      entry.type = string();
    } else if (key == "shape" && !(seen & 2)) {
      seen |= 2;
      items('[', ']', [&] {
        entry.shape.push_back(static_cast<int64_t>(number()));
        if (entry.shape.size() > kMostDimensions) refuse("fewer dimensions");
      });
    } else if (key == "data_offsets" && !(seen & 4)) {
      seen |= 4;
      int count = 0;
      items('[', ']', [&] { (count++ ? entry.end : entry.begin) = number(); });
      if (count != 2) refuse("two offsets");
    } else {
      refuse("dtype, shape and data_offsets");
    }
  });
  if (seen != 7) refuse("dtype, shape and data_offsets");
  return entry;
}

template <typename Item>
void HeaderReader::items(char open, char close, const Item& item) {
  expect(open);
  if (take(close)) return;
  do item();
  while (take(','));
  expect(close);
}

std::string HeaderReader::string() {
  space();
  if (at_ == end_ || *at_ != '"') refuse("a string");
  std::string text;
  for (++at_; at_ != end_ && *at_ != '"'; ++at_) {
    const auto c = static_cast<unsigned char>(*at_);
    // Names of ours are plain ASCII: an escape is nobody's.
    if (c < 0x20 || c > 0x7e || c == '\\') refuse("plain letters in a string");
    text += *at_;
    if (text.size() > kMostName) refuse("a shorter string");
  }
  if (at_ == end_) refuse("the end of a string");
  ++at_;
  return text;
}

uint64_t HeaderReader::number() {
  space();
  uint64_t value = 0;
  int digits = 0;
  for (; at_ != end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
    if (++digits > 15) refuse("a smaller number");
    value = 10 * value + static_cast<uint64_t>(*at_ - '0');
  }
  if (!digits) refuse("a whole number");
  return value;
}

void HeaderReader::space() {
  while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
}

bool HeaderReader::take(char c) {
  space();
  if (at_ == end_ || *at_ != c) return false;
  ++at_;
  return true;
}

void HeaderReader::expect(char c) {
  const char text[] = {c, 0};
  if (!take(c)) refuse(text);
}

}  // namespace forcegate
