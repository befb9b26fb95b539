// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Routing statistics of one call: tokens per expert, load variation, entropy, dropped share.
#pragma once

#include <cmath>
#include <vector>

#include "moe/plan/plan.hpp"

MOE_NAMESPACE_BEGIN

/// How evenly the experts were used. `routing_stats` reuses the memory of the struct it fills.
struct RoutingStats {
  std::vector<Index> tokens_per_expert;  ///< [E], kept
  double load_cv = 0;  ///< standard deviation / mean of demand (before capacity); 0 = balanced
  double entropy = 0;  ///< mean over tokens of the scores' entropy in nats, 0 to ln E; NaN when a
                       ///< score is, 0 for a token whose scores are all 0
  double dropped_share = 0;  ///< assignments lost to capacity, of all assignments
};

/// Statistics of the last forward on a workspace or tape: routing_stats(ws.routing, ws.plan,
/// stats). Padding counts nowhere. All zero when nothing was routed.
template <class S>
void routing_stats(const Routing<S>& routing, const Plan& plan, RoutingStats& stats) {
  const auto experts = static_cast<std::size_t>(plan.num_experts());
  stats.tokens_per_expert.resize(experts);
  double total = 0, squares = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    stats.tokens_per_expert[e] = plan.load(static_cast<Index>(e));
    total += plan.demanded[e];
    squares += static_cast<double>(plan.demanded[e]) * plan.demanded[e];
  }
  const double mean = experts == 0 ? 0 : total / static_cast<double>(experts);
  const double variance = experts == 0 ? 0 : squares / static_cast<double>(experts) - mean * mean;
  stats.load_cv = total == 0 ? 0 : std::sqrt(std::max(variance, 0.0)) / mean;
  stats.dropped_share = total == 0 ? 0 : static_cast<double>(plan.dropped()) / total;

  double entropy = 0;
  Index tokens = 0;
  for (Index t = 0; t < routing.tokens(); ++t) {
    if (routing.expert(t, 0) == kNoExpert) continue;
    ++tokens;
    double sum = 0;
    for (Index e = 0; e < routing.num_experts(); ++e)
      sum += static_cast<double>(routing.scores(t, e));
    if (sum == 0) continue;  // nobody scored, such as behind a ReLU
    for (Index e = 0; e < routing.num_experts(); ++e) {
      const double p = static_cast<double>(routing.scores(t, e)) / sum;
      if (!(p <= 0)) entropy -= p * std::log(p);  // NaN is seen, not passed over
    }
  }
  stats.entropy = tokens == 0 ? 0 : entropy / static_cast<double>(tokens);
}

MOE_NAMESPACE_END
