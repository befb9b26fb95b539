// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The random values of one call: addressed by (seed, purpose, step, token, column), never in
// sequence.
#pragma once

#include <cmath>
#include <numbers>
#include <string_view>

#include "moe/core/batch.hpp"
#include "moe/core/random.hpp"

MOE_NAMESPACE_BEGIN

/// Noise for one purpose. A value depends on batch.seed, batch.step, the purpose's name, the
/// token's place in the whole batch (batch.place_of(t)) and the column alone, so it is the same on
/// any thread count and however the batch is split or picked apart. Layers that get the same Batch draw
/// the same values: give each layer a seed of its own, as blocks, stacks and hierarchies do.
class Draws {
 public:
  Draws(const Batch& batch, std::string_view purpose)
      : seed_(batch.seed),
        stream_(hash(purpose) + batch.step),
        first_token_(batch.first_token),
        places_(batch.token_places) {}

  /// Uniform in the open interval (0, 1), 52 bits. Columns must stay below 2^24.
  double uniform(Index t, Index column) const {
    const auto bits = at(t, column);
    return open_unit(bits[0], bits[1]);
  }

  /// Standard normal (Box-Muller).
  double normal(Index t, Index column) const {
    const auto bits = at(t, column);
    const double radius = std::sqrt(-2 * std::log(open_unit(bits[0], bits[1])));
    return radius * std::cos(2 * std::numbers::pi * open_unit(bits[2], bits[3]));
  }

  /// Standard Gumbel, -log(-log U): argmax(logits + gumbel) is a sample of softmax(logits).
  double gumbel(Index t, Index column) const { return -std::log(-std::log(uniform(t, column))); }

 private:
  std::array<std::uint32_t, 4> at(Index t, Index column) const {
    const auto token = static_cast<std::uint64_t>(
        places_.empty() ? first_token_ + t : places_[static_cast<std::size_t>(t)]);
    return philox(seed_, stream_, token << 24 | static_cast<std::uint64_t>(column));
  }

  static double open_unit(std::uint32_t high, std::uint32_t low) {
    const std::uint64_t bits = std::uint64_t{high} << 20 | low >> 12;
    return (static_cast<double>(bits) + 0.5) * 0x1.0p-52;
  }

  /// FNV-1a.
  static constexpr std::uint64_t hash(std::string_view text) {
    std::uint64_t h = 0xCBF29CE484222325u;
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    return h;
  }

  std::uint64_t seed_;
  std::uint64_t stream_;
  std::int64_t first_token_;
  std::span<const std::int64_t> places_;
};

MOE_NAMESPACE_END
