// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Plans and routings from choices written out by hand.
#pragma once

#include <vector>

#include "moe/plan/plan.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

namespace moe_test {

/// Routing of the given choices [T][K], -1 for none; weights 1, 2, 3 ... and equal scores.
struct RoutingOf {
  moe::Routing<double> routing;
  RoutingOf(Index experts, const std::vector<std::vector<std::int32_t>>& choices) {
    const Index k = choices.empty() ? 1 : static_cast<Index>(choices.front().size());
    routing.resize(static_cast<Index>(choices.size()), k, experts);
    for (Index t = 0; t < routing.tokens(); ++t) {
      for (Index j = 0; j < k; ++j) {
        routing.expert(t, j) = choices[static_cast<std::size_t>(t)][static_cast<std::size_t>(j)];
        routing.weight(t, j) = static_cast<double>(t * k + j + 1);
      }
      for (Index e = 0; e < experts; ++e) routing.scores(t, e) = 1 / static_cast<double>(experts);
    }
  }
};

inline moe::Plan plan_of(Index experts, const std::vector<std::vector<std::int32_t>>& choices,
                         const moe::CapacityOptions& capacity = {}, const moe::Batch& batch = {}) {
  moe::Plan plan;
  make_plan(RoutingOf(experts, choices).routing, capacity, batch, plan);
  return plan;
}

}  // namespace moe_test
