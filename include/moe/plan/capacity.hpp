// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// How many tokens an expert may take, and who stays when it is full: T, K, E -> capacity.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "moe/core/error.hpp"

MOE_NAMESPACE_BEGIN

/// Published capacities; f the factor, T tokens without padding (of a group, when there are
/// groups). A product that is whole up to rounding is not pushed over by its last bit.
enum class CapacityFormula : std::uint8_t {
  megatron,    ///< ceil(f T K / E)
  deepspeed,   ///< ceil(f T K / E), at least 4
  megablocks,  ///< floor(f T K / E)
  mesh,        ///< min(T, floor(f T / E)), at least 4 (mesh, lucidrains: f = 2 stands for top-2)
  lingvo,      ///< floor(f T / E), up to a multiple of 4, at least 4 (lingvo, praxis)
  vmoe,        ///< ceil(f T K / E), up to a multiple of 4
  vmoe_round,  ///< the same, rounded to the nearest, ties to even
  tutel,       ///< K floor(f ceil(T / E))
  fairseq,     ///< floor(f ceil(T / E)); ceil(evaluation_factor T) (NLLB, torchscale: 2 and 0.25)
  fastmoe_gshard,        ///< floor(ceil(f T) K / E)
  fastmoe_switch,        ///< ceil(f T / E)
  praxis_expert_choice,  ///< floor(f floor(T / E))
  fixed,                 ///< floor(f) tokens, whatever T is (HF Switch's expert_capacity)
};

/// Who keeps a place when an expert is full. Ties go to the earlier token.
enum class DropOrder : std::uint8_t {
  position,        ///< earlier tokens first (Switch, Megatron "position")
  choice,          ///< all first choices before any second one, then by position (GShard, vmoe)
  batch_priority,  ///< first choices first, then tokens by their largest score (BPR: Riquelme 2021)
  weight,          ///< larger routing weight first (Megatron "probs")
  score,           ///< larger score first (DeepSpeed "probs")
  random,          ///< a seeded draw per token and expert (DeepSpeed random token selection)
};

/// What becomes of an assignment whose expert is full.
enum class Overflow : std::uint8_t {
  drop,       ///< it contributes nothing: the caller's residual carries the token
  next_best,  ///< the token's next best expert with room (mesh "no token left behind")
  fallback,   ///< one expert without limit
};

/// Capacity of every expert. Default: dropless.
struct CapacityOptions {
  std::optional<double> factor = std::nullopt;  ///< in training; empty: no limit
  /// Without Batch::training; empty: as in training; infinity: no limit.
  std::optional<double> evaluation_factor = std::nullopt;
  CapacityFormula formula = CapacityFormula::megatron;
  std::optional<Index> minimum = std::nullopt;   ///< at least; empty: as the formula has it
  std::optional<Index> multiple = std::nullopt;  ///< round up to; empty: as the formula has it
  Index group_size = 0;  ///< each so many consecutive tokens have a capacity of their own; 0: all
  DropOrder order = DropOrder::position;
  Overflow overflow = Overflow::drop;
  Index reroute_tries = 0;           ///< next_best: experts tried after the chosen ones; 0: all
  std::int32_t fallback_expert = 0;  ///< of Overflow::fallback
  /// Weights of a token's computed assignments are divided by max(sum, renormalize_floor), with
  /// K > 1 (GShard, DeepSpeed, torchscale: "after dropping"; let the gate not do it before).
  bool renormalize_kept = false;
  double renormalize_floor = 0x1p-23;  ///< torch.finfo(float32).eps
  /// [E]: expert e's factor is factor * E * share[e] / sum(share), so that all together have the same
  /// room; empty: equal shares. See shares_of_kinds.
  std::vector<double> share = {};

  /// Every field by name: see moe/io/layer_config.hpp.
  template <class F>
  void visit(F&& f) {
    f("factor", factor);
    f("evaluation_factor", evaluation_factor);
    f("formula", formula);
    f("minimum", minimum);
    f("multiple", multiple);
    f("group_size", group_size);
    f("order", order);
    f("overflow", overflow);
    f("reroute_tries", reroute_tries);
    f("fallback_expert", fallback_expert);
    f("renormalize_kept", renormalize_kept);
    f("renormalize_floor", renormalize_floor);
    f("share", share);
  }
};

/// MoE++'s capacity per kind (Jin et al. 2024, arXiv 2410.07348), as CapacityOptions::share:
/// f tau T K / (tau F + Z) for each of the first F experts, the FFNs, f T K / (tau F + Z) for each of
/// the Z zero, identity and constant experts after them; tau < 1 sends more tokens to these. (T K is
/// the number of choices, which the paper calls T.) Throws std::invalid_argument unless tau is finite
/// and above 0 and no number below 0.
inline std::vector<double> shares_of_kinds(Index ffns, Index others, double tau) {
  constexpr auto* kWhere = "moe::shares_of_kinds";
  if (!(tau > 0) || !std::isfinite(tau)) {
    detail::fail(kWhere, "tau is ", tau, ", expected a finite value above 0");
  }
  if (ffns < 0 || others < 0) {
    detail::fail(kWhere, ffns, " FFNs and ", others, " others, expected at least 0 of each");
  }
  std::vector<double> share(static_cast<std::size_t>(ffns), tau);
  share.resize(static_cast<std::size_t>(ffns + others), 1.0);
  return share;
}

/// Throws std::invalid_argument on a factor that is not positive, a factor of training that is not
/// finite, or another option out of its range.
inline void check_capacity(std::string_view function, const CapacityOptions& options) {
  if (options.factor && (!(*options.factor > 0) || !std::isfinite(*options.factor))) {
    detail::fail(function, "capacity factor is ", *options.factor,
                 ", expected a finite value above 0 (leave it empty for a dropless layer)");
  }
  if (options.evaluation_factor && !(*options.evaluation_factor > 0)) {
    detail::fail(function, "capacity evaluation_factor is ", *options.evaluation_factor,
                 ", expected a value above 0 (infinity for a dropless evaluation)");
  }
  const auto at_least = [&](std::string_view what, Index value, Index least) {
    if (value < least) {
      detail::fail(function, "capacity ", what, " is ", value, ", expected at least ", least);
    }
  };
  at_least("minimum", options.minimum.value_or(0), 0);
  at_least("multiple", options.multiple.value_or(1), 1);
  at_least("group_size", options.group_size, 0);
  at_least("reroute_tries", options.reroute_tries, 0);
  at_least("fallback_expert", options.fallback_expert, 0);
  if (!(options.renormalize_floor > 0) || !std::isfinite(options.renormalize_floor)) {
    detail::fail(function, "capacity renormalize_floor is ", options.renormalize_floor,
                 ", expected a finite value above 0");
  }
  for (const double share : options.share) {
    if (!(share > 0) || !std::isfinite(share)) {
      detail::fail(function, "a capacity share is ", share, ", expected a finite value above 0");
    }
  }
}

namespace detail {

/// The formula before `minimum` and `multiple`.
inline double capacity_share(CapacityFormula formula, double f, double t, double k, double e,
                             bool fraction) {
  const auto up = [](double v) { return std::ceil(v * (1 - 1e-12)); };
  const auto down = [](double v) { return std::floor(v * (1 + 1e-12)); };
  switch (formula) {
    case CapacityFormula::megatron:
    case CapacityFormula::deepspeed:
    case CapacityFormula::vmoe:
      return up(f * t * k / e);
    case CapacityFormula::vmoe_round:
      return std::nearbyint(f * t * k / e);
    case CapacityFormula::megablocks:
      return down(f * t * k / e);
    case CapacityFormula::mesh:
      return std::min(t, down(f * t / e));
    case CapacityFormula::lingvo:
      return down(f * t / e);
    case CapacityFormula::tutel:
      return k * down(f * std::ceil(t / e));
    case CapacityFormula::fairseq:
      return fraction ? up(f * t) : down(f * std::ceil(t / e));
    case CapacityFormula::fastmoe_gshard:
      return std::floor(up(f * t) * k / e);
    case CapacityFormula::fastmoe_switch:
      return up(f * t / e);
    case CapacityFormula::praxis_expert_choice:
      return down(f * std::floor(t / e));
    case CapacityFormula::fixed:
      return down(f);
  }
  return 0;
}

}  // namespace detail

/// Tokens per expert of a batch (or group) of `tokens` without padding; without limit when
/// dropless. `scale` multiplies the factor.
inline Index expert_capacity(const CapacityOptions& options, Index tokens, Index top_k,
                             Index experts, bool training = true, double scale = 1) {
  constexpr Index kNoLimit = std::numeric_limits<Index>::max();
  const bool own = !training && options.evaluation_factor.has_value();
  const std::optional<double> factor = own ? options.evaluation_factor : options.factor;
  if (!factor || std::isinf(*factor)) return kNoLimit;
  using F = CapacityFormula;
  const F formula = options.formula;
  const bool at_least_4 = formula == F::mesh || formula == F::lingvo || formula == F::deepspeed;
  const bool by_4 = formula == F::lingvo || formula == F::vmoe || formula == F::vmoe_round;
  const auto minimum = static_cast<double>(options.minimum.value_or(at_least_4 ? 4 : 0));
  const auto multiple = static_cast<double>(options.multiple.value_or(by_4 ? 4 : 1));
  const double share =
      detail::capacity_share(formula, *factor * scale, static_cast<double>(tokens),
                             static_cast<double>(top_k), static_cast<double>(experts), own);
  const double capacity = std::ceil(std::max(share, minimum) / multiple) * multiple;
  return capacity < 0x1p62 ? static_cast<Index>(capacity) : kNoLimit;
}

/// The same for each expert, to `limit` [E]; returns the largest. Throws std::invalid_argument unless
/// there is a share for every expert, or for none.
inline Index expert_capacities(const CapacityOptions& options, Index tokens, Index top_k,
                               Index experts, bool training, std::vector<Index>& limit) {
  const auto size = static_cast<std::size_t>(experts);
  const Index equal = expert_capacity(options, tokens, top_k, experts, training);
  limit.assign(size, equal);
  if (options.share.empty()) return equal;
  detail::check_size("moe::make_plan", "capacity share", std::ssize(options.share), "values",
                     "the number of experts", experts);
  // Of the largest share: the sum of what is finite need not be.
  const double most = *std::max_element(options.share.begin(), options.share.end());
  double sum = 0;
  for (const double share : options.share) sum += share / most;
  Index largest = 0;
  for (std::size_t e = 0; e < size; ++e) {
    const double scale = static_cast<double>(experts) * (options.share[e] / most) / sum;
    limit[e] = expert_capacity(options, tokens, top_k, experts, training, scale);
    largest = std::max(largest, limit[e]);
  }
  return largest;
}

MOE_NAMESPACE_END
