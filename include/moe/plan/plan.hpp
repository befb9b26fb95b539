// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Routing -> Plan: the kept assignments grouped by expert, capacity, and a record of every drop.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "moe/gate/routing.hpp"

MOE_NAMESPACE_BEGIN

/// How many tokens an expert may take.
struct CapacityOptions {
  /// Each expert takes at most ceil(factor * T * K / E) tokens, T counting no padding (Megatron's
  /// form); later tokens are dropped and contribute zero. Empty: dropless.
  std::optional<double> factor = std::nullopt;
};

/// What became of one assignment of Routing.
enum class Outcome : std::uint8_t {
  kept,     ///< computed
  dropped,  ///< its expert was full
  none,     ///< the gate chose no expert here, or the token is padding
};

/// Kept assignments ("slots") in CSR order by expert; inside an expert by ascending token. N slots.
struct Plan {
  std::vector<std::int32_t> offset;    ///< [E+1], slots of expert e are [offset[e], offset[e+1])
  std::vector<std::int32_t> token;     ///< [N], row of x
  std::vector<std::int32_t> origin;    ///< [N], the assignment t * K + j behind the slot
  std::vector<std::int32_t> slot;      ///< [T * K], inverse of origin, -1 where nothing was kept
  std::vector<Outcome> outcome;        ///< [T * K]
  std::vector<std::int32_t> demanded;  ///< [E], assignments before capacity
  std::vector<std::int32_t> fill;      ///< [E], scratch of make_plan
  Index tokens = 0;                    ///< T
  Index top_k = 0;                     ///< K
  Index capacity = std::numeric_limits<Index>::max();  ///< per expert

  Index num_experts() const { return static_cast<Index>(demanded.size()); }
  Index count() const { return static_cast<Index>(token.size()); }

  /// Tokens that expert e computes.
  Index load(Index e) const {
    const auto i = static_cast<std::size_t>(e);
    return offset[i + 1] - offset[i];
  }

  /// Assignments that lost their place to capacity.
  Index dropped() const {
    Index total = 0;
    for (const auto n : demanded) total += n;
    return total - count();
  }
};

/// Throws std::invalid_argument unless the factor is finite and positive.
inline void check_capacity(std::string_view function, const CapacityOptions& options) {
  if (options.factor && (!(*options.factor > 0) || !std::isfinite(*options.factor))) {
    detail::fail(function, "capacity factor is ", *options.factor,
                 ", expected a finite value above 0 (leave it empty for a dropless layer)");
  }
}

/// Tokens per expert: ceil(factor * tokens * K / E), without limit when dropless. A product that is
/// whole up to rounding (0.7 * 10) is not pushed to the next integer by its last bit.
inline Index expert_capacity(const CapacityOptions& options, Index tokens, Index top_k,
                             Index experts) {
  if (!options.factor) return std::numeric_limits<Index>::max();
  const double share = *options.factor * static_cast<double>(tokens) * static_cast<double>(top_k) /
                       static_cast<double>(experts);
  if (share >= 0x1p62) return std::numeric_limits<Index>::max();  // as good as dropless
  return static_cast<Index>(std::ceil(share * (1 - 1e-12)));
}

namespace detail {

/// Counts demand per expert; `seen` [E] catches a gate that names an expert twice for one token.
inline void count_demand(MatrixView<const std::int32_t> expert, std::vector<std::int32_t>& demanded,
                         std::vector<std::int32_t>& seen) {
  const auto experts = static_cast<std::int32_t>(demanded.size());
  for (Index t = 0; t < expert.rows(); ++t) {
    for (Index j = 0; j < expert.cols(); ++j) {
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

/// Gives each expert's first `capacity` assignments, in token order, their slots.
inline void place_assignments(MatrixView<const std::int32_t> expert, Plan& plan) {
  std::fill(plan.fill.begin(), plan.fill.end(), 0);
  for (Index t = 0; t < expert.rows(); ++t) {
    for (Index j = 0; j < expert.cols(); ++j) {
      if (expert(t, j) == kNoExpert) continue;
      const auto e = static_cast<std::size_t>(expert(t, j));
      const auto a = static_cast<std::size_t>(t * expert.cols() + j);
      if (plan.fill[e] == plan.capacity) {
        plan.outcome[a] = Outcome::dropped;
        continue;
      }
      const auto s = static_cast<std::size_t>(plan.offset[e] + plan.fill[e]++);
      plan.token[s] = static_cast<std::int32_t>(t);
      plan.origin[s] = static_cast<std::int32_t>(a);
      plan.slot[a] = static_cast<std::int32_t>(s);
      plan.outcome[a] = Outcome::kept;
    }
  }
}

}  // namespace detail

/// Stable counting sort of the assignments by expert. When an expert is over capacity it keeps its
/// first tokens (drop by position: Switch, Megatron). Throws std::invalid_argument on an expert
/// index out of range, an expert named twice by one token, or 2^31 assignments; `plan` is then
/// worth nothing until the next make_plan.
template <class S>
void make_plan(const Routing<S>& routing, const CapacityOptions& options, const Batch& batch,
               Plan& plan) {
  const MatrixView<const std::int32_t> expert = routing.expert;
  const Index assignments = expert.size(), experts = routing.num_experts();
  if (assignments > std::numeric_limits<std::int32_t>::max()) {
    detail::fail("moe::make_plan", "tokens * top_k is ", assignments, ", expected less than 2^31");
  }
  const auto e_size = static_cast<std::size_t>(experts);
  plan.tokens = expert.rows();
  plan.top_k = expert.cols();
  plan.demanded.assign(e_size, 0);
  plan.fill.assign(e_size, -1);
  detail::count_demand(expert, plan.demanded, plan.fill);

  Index real_tokens = 0;
  for (Index t = 0; t < expert.rows(); ++t) real_tokens += batch.is_padding(t) ? 0 : 1;
  plan.capacity = expert_capacity(options, real_tokens, plan.top_k, experts);

  plan.offset.assign(e_size + 1, 0);
  for (std::size_t e = 0; e < e_size; ++e) {
    const Index kept = std::min<Index>(plan.demanded[e], plan.capacity);
    plan.offset[e + 1] = plan.offset[e] + static_cast<std::int32_t>(kept);
  }
  plan.token.resize(static_cast<std::size_t>(plan.offset[e_size]));
  plan.origin.resize(plan.token.size());
  plan.slot.assign(static_cast<std::size_t>(assignments), -1);
  plan.outcome.assign(static_cast<std::size_t>(assignments), Outcome::none);
  detail::place_assignments(expert, plan);
}

MOE_NAMESPACE_END
