// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The layers that are measured: sizes of real models, and the batch sizes for each.
#pragma once

#include <span>
#include <string_view>

#include "peers/contestant.hpp"

namespace bench {

struct Shape {
  std::string_view name;
  Index model_dim;
  Index hidden_dim;
  Index num_experts;
  Index top_k;
  Act act;
  bool gated;
  std::span<const Index> tokens;  ///< batch sizes T
  bool cold;  ///< small batches read weights that no cache holds; false for a layer small enough to
              ///< live in one

  Index matrices() const { return gated ? 3 : 2; }
  Index expert_values() const { return matrices() * model_dim * hidden_dim; }
  /// Multiply and add count as two; router and activation are not counted.
  double forward_flops(Index t) const {
    return 2.0 * static_cast<double>(t * top_k) * static_cast<double>(expert_values());
  }
};

inline constexpr Index kLlmTokens[] = {1, 8, 64, 512, 2048};
inline constexpr Index kSwitchTokens[] = {1, 8, 64, 1024};
inline constexpr Index kTinyTokens[] = {1, 64, 1024};

inline constexpr Shape kShapes[] = {
    {"mixtral_small", 2048, 7168, 8, 2, Act::silu, true, kLlmTokens, true},
    {"qwen3_30b", 2048, 768, 128, 8, Act::silu, true, kLlmTokens, true},
    {"olmoe", 2048, 1024, 64, 8, Act::silu, true, kLlmTokens, true},
    {"switch_base_8", 768, 3072, 8, 1, Act::relu, false, kSwitchTokens, true},
    {"tiny", 64, 128, 4, 2, Act::gelu, false, kTinyTokens, false},
};

/// Up to this many tokens a cold shape rotates through copies of its weights.
inline constexpr Index kColdTokens = 64;

}  // namespace bench
