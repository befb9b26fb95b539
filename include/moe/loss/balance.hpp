// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What the losses of the form sum_e f_e P_e share: counting choices [E], walking scores [T, E].
#pragma once

#include <new>

#include "moe/gate/select.hpp"
#include "moe/loss/loss.hpp"

MOE_NAMESPACE_BEGIN

/// What f_e is a share of. f never carries a gradient.
enum class ShareOf {
  /// Choices of e / all choices; sum_e f_e = 1 for any K: the form with 1/K of Megatron,
  /// MegaBlocks,
  /// OLMo, DeepSpeed, DeepSeek. Balanced: 1.
  choices,
  /// Tokens that choose e / tokens; sum_e f_e = K: the form without 1/K of Hugging Face (a sum over
  /// the K slots), flaxformer (a union of them, the same since a token names an expert once) and
  /// maxtext. Balanced: K.
  tokens,
  /// Tokens whose first choice (column 0, in gates that list the best first) is e / tokens: GShard,
  /// Switch. Balanced: 1.
  first_choices,
};

/// Whose choices f counts.
enum class ChosenBy {
  gate,    ///< column order and content of routing.expert
  scores,  ///< the K best scores, ties to the lowest index: DeepSeek-V3 and Megatron, whose loss
           ///< does not see the selection bias
};

/// What P_e is a mean of.
enum class ScoresAs {
  given,       ///< routing.scores as they are
  normalized,  ///< divided by the token's sum: sigmoid scores in DeepSeek-V3 and Megatron
};

/// How several groups of tokens make one loss.
enum class MeanOver {
  groups,  ///< each group counts the same: GShard, DeepSeek, maxtext
  tokens,  ///< each group counts by its tokens: OLMo
};

/// Where published balance losses differ.
struct BalanceForm {
  ShareOf share = ShareOf::choices;
  ChosenBy chosen = ChosenBy::gate;
  ScoresAs scores = ScoresAs::given;
};

namespace detail {

/// Sums below this are no scale to divide by: the inverse would leave the range of float.
inline constexpr double kVanishing = 1e-30;

/// Doubles of LossInput::zeros in which for_choices has room for K experts.
template <class S>
Index room_for_best(const LossInput<S>& in, const BalanceForm& form) {
  constexpr auto kPerDouble = static_cast<Index>(sizeof(double) / sizeof(std::int32_t));
  return form.chosen == ChosenBy::gate ? 0 : (in.routing.top_k() + kPerDouble - 1) / kPerDouble;
}

/// f(e) for the choices of token t that `form` counts. Without ChosenBy::gate, `best` has room for
/// K of them.
template <class S, class F>
void for_choices(const LossInput<S>& in, Index t, const BalanceForm& form, F&& f,
                 std::int32_t* best = nullptr) {
  Index k = form.share == ShareOf::first_choices ? 1 : in.routing.top_k();
  const std::int32_t* choice = in.routing.expert.row(t);
  if (form.chosen == ChosenBy::scores) {
    MOE_ASSERT(best != nullptr);
    k = std::min(k, in.num_experts());
    select_top_k(in.routing.scores.row(t), in.num_experts(), k, best);
    choice = best;
  }
  for (Index j = 0; j < k; ++j) {
    if (choice[j] != kNoExpert) f(Index{choice[j]});
  }
}

/// sum_e slope_e s_e of token t, and its gradient. Normalised scores s / sum s get (slope_e -
/// value) / sum s. A token without any score counts as uniform and has no gradient, so that scores
/// gain nothing by vanishing together.
template <class S>
double add_scores(const LossInput<S>& in, Index t, const double* slope, ScoresAs as,
                  LossGradient<S>& gradient) {
  const Index experts = in.num_experts();
  const S* s = in.routing.scores.row(t);
  double sum = 1, value = 0;
  if (as == ScoresAs::normalized) {
    sum = 0;
    for (Index e = 0; e < experts; ++e) sum += static_cast<double>(s[e]);
    if (sum <= kVanishing) {
      for (Index e = 0; e < experts; ++e) value += slope[e] / static_cast<double>(experts);
      return value;
    }
  }
  for (Index e = 0; e < experts; ++e) value += slope[e] * static_cast<double>(s[e]) / sum;
  const double mean = as == ScoresAs::normalized ? value : 0;
  S* ds = gradient.dscores.row(t);
  for (Index e = 0; e < experts; ++e) ds[e] += static_cast<S>((slope[e] - mean) / sum);
  return value;
}

/// The same over all real tokens.
template <class S>
double add_scores(const LossInput<S>& in, const double* slope, ScoresAs as,
                  LossGradient<S>& gradient) {
  double value = 0;
  in.for_real_tokens([&](Index t) { value += add_scores(in, t, slope, as, gradient); });
  return value;
}

/// Adds the choices of all real tokens, those of the gate, to count [E]; returns how many there are.
template <class S>
double count_choices(const LossInput<S>& in, const BalanceForm& form, double* count) {
  double total = 0;
  in.for_real_tokens([&](Index t) {
    for_choices(in, t, form, [&](Index e) {
      count[e] += 1;
      total += 1;
    });
  });
  return total;
}

/// coefficient * mean_g E sum_e f_ge P_ge over groups of tokens that have a real one; group_of(t)
/// in [0, groups).
template <class S, class GroupOf>
double group_balance(const LossInput<S>& in, LossGradient<S>& gradient, double coefficient,
                     const BalanceForm& form, Index groups, MeanOver mean, GroupOf group_of) {
  const Index experts = in.num_experts(), width = experts + 2;
  // per group: counts [E], choices, tokens; then the best experts of one token
  const Index sums = groups * width, extra = room_for_best(in, form);
  const std::span<double> all = in.zeros(sums + extra);
  const auto row = [&](Index g) { return all.data() + g * width; };
  std::int32_t* best = nullptr;
  if (extra > 0) {
    const auto k = static_cast<std::size_t>(in.routing.top_k());
    best = ::new (all.data() + sums) std::int32_t[k];
  }
  in.for_real_tokens([&](Index t) {
    double* group = row(group_of(t));
    group[experts + 1] += 1;
    const auto count = [&](Index e) {
      group[e] += 1;
      group[experts] += 1;
    };
    for_choices(in, t, form, count, best);
  });
  double used = 0, tokens = 0;
  for (Index g = 0; g < groups; ++g) {
    used += row(g)[experts + 1] > 0 ? 1 : 0;
    tokens += row(g)[experts + 1];
  }
  for (Index g = 0; g < groups; ++g) {
    double* group = row(g);
    const double own = group[experts + 1];
    const double all_f = form.share == ShareOf::choices ? group[experts] : own;
    if (all_f == 0) continue;
    const double weight = mean == MeanOver::tokens ? own / tokens : 1 / used;
    const double scale = coefficient * weight * static_cast<double>(experts) / (all_f * own);
    for (Index e = 0; e < experts; ++e) group[e] *= scale;
  }
  double value = 0;
  in.for_real_tokens(
      [&](Index t) { value += add_scores(in, t, row(group_of(t)), form.scores, gradient); });
  return value;
}

}  // namespace detail
MOE_NAMESPACE_END
