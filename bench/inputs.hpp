// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What goes into a row: tokens, and where the router sent them.
#pragma once

#include <vector>

#include "moe/core/types.hpp"
#include "shapes.hpp"

namespace bench {

/// Uniform in [-1, 1), a hash of its address: any part of a matrix, in any order, and vectorisable.
inline float hashed_uniform(std::uint32_t seed, std::uint32_t i) {
  std::uint32_t h = i * 0x9E3779B9u + seed;
  h = (h ^ h >> 16) * 0x85EBCA6Bu;
  h = (h ^ h >> 13) * 0xC2B2AE35u;
  return static_cast<float>(static_cast<std::int32_t>(h ^ h >> 16)) * 0x1p-31f;
}

inline void fill_uniform(std::uint32_t seed, float bound, float* out, Index n) {
  for (Index i = 0; i < n; ++i) {
    out[i] = bound * hashed_uniform(seed, static_cast<std::uint32_t>(i));
  }
}

/// One batch with its routing.
struct Batch {
  std::vector<float> x;              ///< [T, D]
  std::vector<std::int32_t> expert;  ///< [T, K]
  std::vector<float> weight;         ///< [T, K]
  Index distinct_experts = 0;

  void count_experts(Index experts) {
    std::vector<bool> used(static_cast<std::size_t>(experts));
    for (const std::int32_t e : expert) used[static_cast<std::size_t>(e)] = true;
    distinct_experts = std::count(used.begin(), used.end(), true);
  }
};

/// Several batches of one size, so that no two calls in a row ask for the same experts.
struct Inputs {
  Index tokens = 0;
  std::vector<Batch> batches;
  std::vector<float> y;  ///< [T, D], every call's output

  static Index batch_count(Index tokens) { return std::clamp<Index>(2048 / tokens, 2, 64); }
};

}  // namespace bench
