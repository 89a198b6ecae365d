// Random numbers from a counter: the same for the same place in a simulation, whoever asks and when.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace forcegate {

// Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405).
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint64_t key) {
  auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ low, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ high, static_cast<uint32_t>(a)};
    low += 0x9E3779B9;
    high += 0xBB67AE85;
  }
  return counter;
}

// Three standard normal numbers of one atom at one step, by Box and Muller.
inline std::array<double, 3> normals(uint64_t seed, uint64_t step, uint32_t stream,
                                     uint32_t atom) {
  const auto bits =
      philox({atom, stream, static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32)}, seed);
  // In (0, 1): the middle of one of 2³² intervals.
  const auto uniform = [&](int k) { return (bits[k] + 0.5) * 0x1p-32; };
  const double one = std::sqrt(-2.0 * std::log(uniform(0)));
  const double two = std::sqrt(-2.0 * std::log(uniform(2)));
  constexpr double kTurn = 2.0 * std::numbers::pi;
  return {one * std::cos(kTurn * uniform(1)), one * std::sin(kTurn * uniform(1)),
          two * std::cos(kTurn * uniform(3))};
}

}  // namespace forcegate
