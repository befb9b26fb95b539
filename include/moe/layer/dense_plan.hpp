// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The plan of a dense layer, every expert on every real token, and its weights: [T, E] -> [E, R].
#pragma once

#include <limits>

#include "moe/expert/group.hpp"

MOE_NAMESPACE_BEGIN

/// The plan in which every expert computes every real token of T: slot e * R + r is the r-th real
/// token at expert e. Nothing is counted or sorted. Throws std::invalid_argument from 2^31 slots on.
inline void plan_everything(Index tokens, Index experts, const Batch& batch, Plan& plan) {
  const Index assignments = tokens * experts;
  if (assignments > std::numeric_limits<std::int32_t>::max()) {
    detail::fail("moe::plan_everything", "tokens * experts is ", assignments,
                 ", expected less than 2^31");
  }
  const auto size = static_cast<std::size_t>(assignments);
  plan.tokens = tokens;
  plan.top_k = experts;
  plan.capacity = std::numeric_limits<Index>::max();
  plan.rules = {};
  plan.token.reserve(size);  // another time less may be padding
  plan.origin.reserve(size);
  plan.token.clear();
  for (Index t = 0; t < tokens; ++t) {
    if (!batch.is_padding(t)) plan.token.push_back(static_cast<std::int32_t>(t));
  }
  const std::size_t real = plan.token.size();
  plan.demanded.assign(static_cast<std::size_t>(experts), static_cast<std::int32_t>(real));
  plan.fill = plan.demanded;
  plan.offset.resize(static_cast<std::size_t>(experts) + 1);
  plan.token.resize(real * static_cast<std::size_t>(experts));
  plan.origin.resize(plan.token.size());
  plan.slot.assign(size, -1);
  plan.outcome.assign(size, Outcome::none);
  for (std::size_t e = 0; e <= static_cast<std::size_t>(experts); ++e) {
    plan.offset[e] = static_cast<std::int32_t>(e * real);
    for (std::size_t r = 0; r < real && e < static_cast<std::size_t>(experts); ++r) {
      const std::size_t s = e * real + r;
      const std::int32_t token = plan.token[r];
      const std::size_t a = static_cast<std::size_t>(token) * static_cast<std::size_t>(experts) + e;
      plan.token[s] = token;
      plan.origin[s] = static_cast<std::int32_t>(a);
      plan.slot[a] = static_cast<std::int32_t>(s);
      plan.outcome[a] = Outcome::kept;
    }
  }
}

/// slot_weight[e * R + r] = the weight of expert e for the r-th real token; routing names the experts
/// of a token in order.
template <class S>
void transpose_weights(const Routing<S>& routing, const Plan& plan, std::span<S> slot_weight) {
  for (Index e = 0; e < plan.num_experts(); ++e) {
    const auto first = static_cast<std::size_t>(plan.offset[static_cast<std::size_t>(e)]);
    for (std::size_t s = first; s < first + static_cast<std::size_t>(plan.load(e)); ++s) {
      slot_weight[s] = routing.weight(plan.token[s], e);
    }
  }
}

namespace detail {

/// Scratch is for the plan without padding, whatever the mask: the next call may have none.
template <class S>
RowGroups<S> every_row(const Plan& plan, std::span<const S> slot_weight) {
  return {plan.offset, plan.token, slot_weight, std::ssize(plan.slot)};
}

}  // namespace detail
MOE_NAMESPACE_END
