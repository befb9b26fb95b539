// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Routing -> Plan: the kept assignments grouped by expert, capacity, and a record of every drop.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "moe/gate/routing.hpp"
#include "moe/plan/capacity.hpp"
#include "moe/plan/overflow.hpp"

MOE_NAMESPACE_BEGIN

/// Computed assignments ("slots") in CSR order by expert; inside an expert by ascending token. N
/// slots.
struct Plan {
  std::vector<std::int32_t> offset;    ///< [E+1], slots of expert e are [offset[e], offset[e+1])
  std::vector<std::int32_t> token;     ///< [N], row of x
  std::vector<std::int32_t> origin;    ///< [N], the assignment t * K + j behind the slot
  std::vector<std::int32_t> slot;      ///< [T * K], inverse of origin, -1 where nothing is computed
  std::vector<Outcome> outcome;        ///< [T * K]
  std::vector<std::int32_t> demanded;  ///< [E], assignments before capacity
  std::vector<std::int32_t> fill;      ///< [E], scratch of make_plan
  Index tokens = 0;                    ///< T
  Index top_k = 0;                     ///< K
  Index capacity = std::numeric_limits<Index>::max();  ///< the largest of `limit`
  std::vector<Index> limit;        ///< [E], tokens an expert may take (of a full group)
  CapacityOptions rules;           ///< as given to make_plan
  detail::OverflowRules overflow;  ///< scratch of make_plan

  Index num_experts() const { return static_cast<Index>(demanded.size()); }
  Index count() const { return static_cast<Index>(token.size()); }

  /// Tokens that expert e computes.
  Index load(Index e) const {
    const auto i = static_cast<std::size_t>(e);
    return offset[i + 1] - offset[i];
  }

  /// The expert that computes assignment a = t * K + j, kNoExpert when none does.
  std::int32_t expert_of(Index a) const {
    const std::int32_t s = slot[static_cast<std::size_t>(a)];
    if (s < 0) return kNoExpert;
    const auto after = std::upper_bound(offset.begin(), offset.end(), s);
    return static_cast<std::int32_t>(after - offset.begin()) - 1;
  }

  Index count_of(Outcome what) const {
    return static_cast<Index>(std::count(outcome.begin(), outcome.end(), what));
  }

  /// Assignments that no expert computes for want of capacity.
  Index dropped() const {
    Index total = 0;
    for (const auto n : demanded) total += n;
    return total - count();
  }
};

namespace detail {

/// A mask, when there is one, must say of every token whether it is padding.
inline void check_mask(std::string_view function, const Batch& batch, Index tokens) {
  if (batch.mask.empty()) return;
  check_size(function, "mask", std::ssize(batch.mask), "values", "the number of tokens", tokens);
}

/// Counts demand per expert; `seen` [E] catches a gate that names an expert twice for one token.
inline void count_demand(MatrixView<const std::int32_t> expert, const Batch& batch,
                         std::vector<std::int32_t>& demanded, std::vector<std::int32_t>& seen) {
  const auto experts = static_cast<std::int32_t>(demanded.size());
  for (Index t = 0; t < expert.rows(); ++t) {
    for (Index j = 0; j < expert.cols() && !batch.is_padding(t); ++j) {
      const std::int32_t e = expert(t, j);
      if (e == kNoExpert) continue;
      if (e < 0 || e >= experts) {
        fail("moe::make_plan", "token ", t, " is routed to expert ", e, ", expected 0 to ",
             experts - 1);
      }
      const auto i = static_cast<std::size_t>(e);
      if (seen[i] == static_cast<std::int32_t>(t)) {
        fail("moe::make_plan", "token ", t, " is routed to expert ", e,
             " twice, expected distinct experts");
      }
      seen[i] = static_cast<std::int32_t>(t);
      ++demanded[i];
    }
  }
}

/// Stable counting sort: gives every assignment the next slot of its expert, of whose slots
/// plan.fill [E] says how many there are. expert_of(t, a) is asked once for each, in order.
template <class F>
void place_assignments(Plan& plan, F&& expert_of) {
  Index total = 0;
  for (std::size_t e = 0; e < plan.fill.size(); ++e) {
    plan.offset[e] = static_cast<std::int32_t>(total);
    total += plan.fill[e];
  }
  plan.offset[plan.fill.size()] = static_cast<std::int32_t>(total);
  plan.token.resize(static_cast<std::size_t>(total));
  plan.origin.resize(plan.token.size());
  std::fill(plan.fill.begin(), plan.fill.end(), 0);
  for (Index t = 0; t < plan.tokens; ++t) {
    for (Index j = 0; j < plan.top_k; ++j) {
      const auto a = static_cast<std::size_t>(t * plan.top_k + j);
      const std::int32_t expert = expert_of(t, a);
      if (expert == kNoExpert) continue;
      const auto e = static_cast<std::size_t>(expert);
      const auto s = static_cast<std::size_t>(plan.offset[e] + plan.fill[e]++);
      plan.token[s] = static_cast<std::int32_t>(t);
      plan.origin[s] = static_cast<std::int32_t>(a);
      plan.slot[a] = static_cast<std::int32_t>(s);
    }
  }
}

/// Drop by position in one pass: an expert's first `capacity` assignments are kept.
inline void place_by_position(MatrixView<const std::int32_t> expert, const Batch& batch,
                              Plan& plan) {
  for (std::size_t e = 0; e < plan.fill.size(); ++e) {
    plan.fill[e] = static_cast<std::int32_t>(std::min<Index>(plan.demanded[e], plan.limit[e]));
  }
  place_assignments(plan, [&](Index t, std::size_t a) {
    const std::int32_t e = expert(t, static_cast<Index>(a) - t * plan.top_k);
    if (e == kNoExpert || batch.is_padding(t)) return kNoExpert;
    const auto i = static_cast<std::size_t>(e);
    const bool full = plan.fill[i] == plan.limit[i];
    plan.outcome[a] = full ? Outcome::dropped : Outcome::kept;
    return full ? kNoExpert : e;
  });
}

/// Any other order, overflow or groups.
template <class S>
void place_by_rules(const Routing<S>& routing, const Batch& batch, Plan& plan) {
  plan.overflow.decide(routing, plan.rules, batch, plan.outcome);
  std::fill(plan.fill.begin(), plan.fill.end(), 0);
  for (const std::int32_t e : plan.overflow.target) {
    if (e != kNoExpert) ++plan.fill[static_cast<std::size_t>(e)];
  }
  place_assignments(plan, [&](Index, std::size_t a) { return plan.overflow.target[a]; });
}

/// True when drop by position, or no drop at all, is what is asked for, whatever the routing.
inline bool asks_for_position(const Plan& plan) {
  const CapacityOptions& rules = plan.rules;
  if (plan.capacity == std::numeric_limits<Index>::max()) return true;
  return rules.group_size == 0 && rules.order == DropOrder::position &&
         rules.overflow == Overflow::drop;
}

/// True when no expert has more than it may take: then every rule keeps everything.
inline bool nobody_overflows(const Plan& plan) {
  if (plan.rules.group_size != 0) return false;  // a group may, though the whole does not
  for (std::size_t e = 0; e < plan.limit.size(); ++e) {
    if (plan.demanded[e] > plan.limit[e]) return false;
  }
  return true;
}

}  // namespace detail

/// Stable counting sort of the assignments by expert, after `options` have decided who keeps a
/// place. Padding has no assignments and counts for no capacity. A rerouted assignment never takes
/// the place of one that was chosen. Throws std::invalid_argument on a mask that is not [T], an expert
/// index out of range, an expert named twice by one token, or 2^31 assignments; `plan` is then worth
/// nothing until the next make_plan.
template <class S>
void make_plan(const Routing<S>& routing, const CapacityOptions& options, const Batch& batch,
               Plan& plan) {
  const MatrixView<const std::int32_t> expert = routing.expert;
  const Index assignments = expert.size(), experts = routing.num_experts();
  detail::check_mask("moe::make_plan", batch, expert.rows());
  if (assignments > std::numeric_limits<std::int32_t>::max()) {
    detail::fail("moe::make_plan", "tokens * top_k is ", assignments, ", expected less than 2^31");
  }
  if (options.overflow == Overflow::fallback && options.fallback_expert >= experts) {
    detail::fail("moe::make_plan", "fallback_expert is ", options.fallback_expert,
                 ", expected 0 to ", experts - 1);
  }
  const auto e_size = static_cast<std::size_t>(experts);
  plan.rules = options;
  plan.tokens = expert.rows();
  plan.top_k = expert.cols();
  plan.demanded.assign(e_size, 0);
  plan.fill.assign(e_size, -1);
  detail::count_demand(expert, batch, plan.demanded, plan.fill);

  Index real_tokens = 0;
  for (Index t = 0; t < expert.rows(); ++t) real_tokens += batch.is_padding(t) ? 0 : 1;
  if (options.group_size > 0) real_tokens = std::min(real_tokens, options.group_size);
  plan.capacity =
      expert_capacities(options, real_tokens, plan.top_k, experts, batch.training, plan.limit);

  plan.offset.resize(e_size + 1);
  plan.token.reserve(static_cast<std::size_t>(assignments));  // another time more may be kept
  plan.origin.reserve(static_cast<std::size_t>(assignments));
  plan.slot.assign(static_cast<std::size_t>(assignments), -1);
  plan.outcome.assign(static_cast<std::size_t>(assignments), Outcome::none);
  const bool by_position = detail::asks_for_position(plan);
  if (!by_position) plan.overflow.reserve(routing, options);  // another time some overflow
  if (by_position || detail::nobody_overflows(plan)) {
    detail::place_by_position(expert, batch, plan);
  } else {
    detail::place_by_rules(routing, batch, plan);
  }
}

MOE_NAMESPACE_END
