// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Routing weights [T, K] -> the weight of each slot [N], after drops and reroutes; and its
// gradient.
#pragma once

#include "moe/plan/plan.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// The weight c of assignment (t, j) before renormalisation, w the gate's and s its scores:
///   kept, fallback:     c = w
///   rerouted, e to f:   c = w s_f / s_e, what the gate would have given f, whatever its scaling
/// Zero when nothing computes it.
template <class S>
struct CarriedWeight {
  S value = 0;
  std::int32_t from = kNoExpert;  ///< e and f when rerouted
  std::int32_t to = kNoExpert;
};

template <class S>
CarriedWeight<S> carried_weight(const Routing<S>& routing, const Plan& plan, Index t, Index j) {
  const Index a = t * plan.top_k + j;
  const auto i = static_cast<std::size_t>(a);
  if (plan.slot[i] < 0) return {};
  const S w = routing.weight(t, j);
  if (plan.outcome[i] != Outcome::rerouted) return {w};
  const std::int32_t e = routing.expert(t, j), f = plan.expert_of(a);
  const S s = routing.scores(t, e);
  return {s == 0 ? S(0) : w * routing.scores(t, f) / s, e, f};
}

/// Divisor of token t's weights: max(sum c, floor) with Options::renormalize_kept, else 1. A floor too
/// small for S counts as the smallest normal number, not as 0.
template <class S>
S kept_divisor(const Routing<S>& routing, const Plan& plan, Index t, S& sum) {
  sum = 0;
  if (!plan.rules.renormalize_kept || plan.top_k == 1) return 1;
  for (Index j = 0; j < plan.top_k; ++j) sum += carried_weight(routing, plan, t, j).value;
  const auto floor = static_cast<S>(plan.rules.renormalize_floor);
  return std::max({sum, floor, std::numeric_limits<S>::min()});
}

template <class S>
void check_slot_weights(std::string_view function, const Routing<S>& routing, const Plan& plan,
                        std::string_view what, std::span<const S> slots) {
  check_shape(function, "routing.weight", routing.weight, plan.tokens, plan.top_k);
  check_size(function, what, std::ssize(slots), "values", "the plan's slot count", plan.count());
}

}  // namespace detail

/// slot_weight[s] = the weight that the computed assignment behind slot s carries: the gate's, for
/// a rerouted one scaled to its new expert's score, divided by the token's kept sum when the plan's
/// rules say so. Throws std::invalid_argument on a routing or a span that does not fit the plan.
template <class S>
void gather_slot_weights(const Routing<S>& routing, const Plan& plan, std::span<S> slot_weight) {
  detail::check_slot_weights<S>("moe::gather_slot_weights", routing, plan, "slot_weight",
                                slot_weight);
  for (Index t = 0; t < plan.tokens; ++t) {
    S sum = 0;
    const S divisor = detail::kept_divisor(routing, plan, t, sum);
    for (Index j = 0; j < plan.top_k; ++j) {
      const std::int32_t s = plan.slot[static_cast<std::size_t>(t * plan.top_k + j)];
      if (s < 0) continue;
      const S carried = detail::carried_weight(routing, plan, t, j).value;
      slot_weight[static_cast<std::size_t>(s)] = divisor == 1 ? carried : carried / divisor;
    }
  }
}

/// Back through the same: adds to dweight [T, K] and, for rerouted assignments, to dscores [T, E],
/// given dslot_weight [N].
///   renormalised, sum >= floor: dc_j = (g_j - sum_i c_i g_i / sum) / sum; below the floor g_j /
///   floor rerouted: dw += dc s_f / s_e, ds_f += dc w / s_e, ds_e -= dc w s_f / s_e^2
/// So a rerouted token teaches the router both about the expert it wanted and the one it got; a
/// dropped one teaches nothing, but moves its token's other weights when these are renormalised.
template <class S>
void scatter_slot_weights(const Routing<S>& routing, const Plan& plan,
                          std::span<const S> dslot_weight, MatrixView<S> dweight,
                          MatrixView<S> dscores) {
  constexpr auto* kWhere = "moe::scatter_slot_weights";
  detail::check_slot_weights<S>(kWhere, routing, plan, "dslot_weight", dslot_weight);
  detail::check_shape(kWhere, "dweight", dweight, plan.tokens, plan.top_k);
  detail::check_shape(kWhere, "dscores", dscores, plan.tokens, routing.num_experts());
  const auto slot_of = [&](Index t, Index j) {
    return plan.slot[static_cast<std::size_t>(t * plan.top_k + j)];
  };
  for (Index t = 0; t < plan.tokens; ++t) {
    S sum = 0, mean = 0;
    const S divisor = detail::kept_divisor(routing, plan, t, sum);
    for (Index j = 0; sum != 0 && sum == divisor && j < plan.top_k; ++j) {
      if (slot_of(t, j) < 0) continue;
      mean += detail::carried_weight(routing, plan, t, j).value / sum *
              dslot_weight[static_cast<std::size_t>(slot_of(t, j))];
    }
    for (Index j = 0; j < plan.top_k; ++j) {
      if (slot_of(t, j) < 0) continue;
      const S dcarried = (dslot_weight[static_cast<std::size_t>(slot_of(t, j))] - mean) / divisor;
      const auto carried = detail::carried_weight(routing, plan, t, j);
      if (carried.to == kNoExpert) {
        dweight(t, j) += dcarried;
        continue;
      }
      const S s = routing.scores(t, carried.from);
      if (s == 0) continue;
      dweight(t, j) += dcarried * routing.scores(t, carried.to) / s;
      dscores(t, carried.to) += dcarried * routing.weight(t, j) / s;
      dscores(t, carried.from) -= dcarried * carried.value / s;
    }
  }
}

MOE_NAMESPACE_END
