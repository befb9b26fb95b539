// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What the weights of Soft MoE look like: the share of each expert, and how decided they are.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "moe/layer/soft_mix.hpp"

MOE_NAMESPACE_BEGIN

/// Nothing is chosen or dropped in a soft layer; these are means of its weights. All zero without a
/// real token. NaN in a weight makes a mean NaN.
struct SoftStats {
  std::vector<double> expert_share;  ///< [E], mean combine weight of the expert's slots, sums to 1
  double combine_entropy = 0;  ///< mean over tokens, in nats, 0 (one slot) to ln M (all alike)
  double dispatch_entropy =
      0;                    ///< mean over slots, relative to ln L of the sequence: 0 (one token)
                            ///< to 1 (a plain mean, as at the start); L = 1 counts as 1
  double combine_max = 0;   ///< mean over tokens of the largest weight
  double dispatch_max = 0;  ///< mean over slots and sequences of the largest weight
};

namespace detail {

template <class S>
void weigh_row(std::span<const S> p, double& entropy, double& largest) {
  entropy = largest = 0;
  for (const S value : p) {
    const auto v = static_cast<double>(value);
    if (!(v <= 0)) entropy -= v * std::log(v);
    if (!(v <= largest)) largest = v;
  }
}

}  // namespace detail

/// Statistics of the last forward: soft_stats(ws.mix, layer.num_experts(), stats). Reuses the memory
/// of `stats`. Throws std::invalid_argument unless the experts share the slots evenly.
template <class S>
void soft_stats(const SoftMix<S>& mix, Index experts, SoftStats& stats) {
  const Index m = mix.weights.slots;
  if (experts < 0 || (m > 0 && (experts == 0 || m % experts != 0))) {
    detail::fail("moe::soft_stats", "experts is ", experts, ", expected a divisor of the ", m,
                 " slots");
  }
  stats.expert_share.assign(static_cast<std::size_t>(experts), 0.0);
  stats.combine_entropy = stats.combine_max = stats.dispatch_entropy = stats.dispatch_max = 0;
  if (m == 0) return;  // no forward yet
  const Index per_expert = m / experts;
  const auto tokens = static_cast<double>(mix.sequences.rows());
  const auto slots = static_cast<double>(mix.slot_rows());
  double entropy = 0, largest = 0;
  for (Index b = 0; b < mix.sequences.count(); ++b) {
    const auto combine = mix.weights.combine_of(mix.sequences, b);
    const auto dispatch = mix.weights.dispatch_of(mix.sequences, b);
    for (Index t = 0; t < combine.rows(); ++t) {
      detail::weigh_row<S>({combine.row(t), static_cast<std::size_t>(m)}, entropy, largest);
      stats.combine_entropy += entropy / tokens;
      stats.combine_max += largest / tokens;
      for (Index s = 0; s < m; ++s) {
        stats.expert_share[static_cast<std::size_t>(s / per_expert)] +=
            static_cast<double>(combine(t, s)) / tokens;
      }
    }
    const double most = std::log(static_cast<double>(dispatch.cols()));
    for (Index s = 0; s < m; ++s) {
      detail::weigh_row<S>({dispatch.row(s), static_cast<std::size_t>(dispatch.cols())}, entropy,
                           largest);
      stats.dispatch_entropy += (most > 0 ? entropy / most : 1) / slots;
      stats.dispatch_max += largest / slots;
    }
  }
}

MOE_NAMESPACE_END
