// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Selection, which gates share: the k best of n, exact and stable, and the limit to a few groups of
// experts.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "moe/gate/routing.hpp"
#include "moe/gate/score.hpp"
#include "moe/kernel/rows.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

inline void check_top_k(std::string_view function, const Dims& dims) {
  check_positive(function, "top_k", dims.top_k);
  check_positive(function, "num_experts", dims.num_experts);
  if (dims.top_k > dims.num_experts) {
    fail(function, "top_k is ", dims.top_k, ", expected at most num_experts = ", dims.num_experts);
  }
}

/// `value` must be finite and above zero.
inline void check_above_zero(std::string_view function, std::string_view what, double value) {
  if (!(value > 0) || !std::isfinite(value)) {
    fail(function, what, " is ", value, ", expected a finite value above 0");
  }
}

/// A gate's temperature as its state.
template <class F>
void visit_temperature(std::string_view function, double& temperature, F& f) {
  f(std::string_view("temperature"), temperature, [function](std::span<const double> saved) {
    check_above_zero(function, "temperature", saved[0]);
  });
}

/// `value` must be finite and not negative.
inline void check_at_least_zero(std::string_view function, std::string_view what, double value) {
  if (!(value >= 0) || !std::isfinite(value)) {
    fail(function, what, " is ", value, ", expected a finite value of at least 0");
  }
}

/// K of a gate whose tokens may have any number of experts: `most`, or all of them when that is 0.
inline Index check_most_experts(std::string_view function, const Dims& dims, Index most) {
  check_top_k(function, dims);
  if (most < 0 || most > dims.num_experts) {
    fail(function, "max_experts is ", most,
         ", expected 0 (no limit) to num_experts = ", dims.num_experts);
  }
  return most == 0 ? dims.num_experts : most;
}

}  // namespace detail

/// True when score a of index i ranks before score b of index j: larger first, ties to the lower
/// index, NaN behind every number.
template <class S>
bool ranks_before(S a, Index i, S b, Index j) {
  const bool a_nan = std::isnan(a), b_nan = std::isnan(b);
  if (a_nan != b_nan) return b_nan;
  if (!a_nan && a != b) return a > b;
  return i < j;
}

/// For large n and k, such as an expert's share of a batch: `order` has room for n; its first k are
/// then the best in any order, except that order[k - 1] is the k-th. `score(i)` gives the scores.
template <class Score>
void partition_top_k(Score&& score, Index n, Index k, std::int32_t* order) {
  std::iota(order, order + n, 0);
  if (k >= 1) {
    std::nth_element(order, order + (k - 1), order + n, [&](std::int32_t a, std::int32_t b) {
      return ranks_before(score(a), a, score(b), b);
    });
  }
}

/// What experts are ranked by. Softmax and sigmoid keep the order of the logits but round: logits
/// that differ may have equal scores, so ranking by logits leaves fewer ties.
enum class SelectBy {
  automatic,  ///< scores when a selection bias or groups are in use, as published, else logits
  logits,
  scores,
};

/// What a group of experts is worth when only a few groups may be used.
enum class GroupScore {
  max,            ///< its best expert (DeepSeek-V2)
  top2_sum,       ///< its two best (DeepSeek-V3)
  top_share_sum,  ///< its K / top_groups best (Megatron)
};

/// The value that experts outside the chosen groups are given.
enum class GroupMask {
  minus_infinity,  ///< never chosen (DeepSeek's and Megatron's code)
  zero,            ///< chosen before an allowed expert of negative key: the HF port's error of old
};

/// E experts in equal groups, of which a token may use a few.
struct GroupLimit {
  Index groups = 1;
  Index kept = 1;
  GroupScore score = GroupScore::top2_sum;
  GroupMask mask = GroupMask::minus_infinity;

  /// Masks key [n] outside the `kept` best groups. `value` has room for groups, `order`
  /// for max(groups, n / groups).
  void apply(double* key, Index n, Index top_k, double* value, std::int32_t* order) const {
    const Index size = n / groups;
    const Index best = std::min(size, score == GroupScore::max        ? Index{1}
                                      : score == GroupScore::top2_sum ? Index{2}
                                                                      : top_k / kept);
    for (Index g = 0; g < groups; ++g) {
      const double* member = key + g * size;
      select_top_k(member, size, best, order);
      value[g] = 0;
      for (Index j = 0; j < best; ++j) value[g] += member[order[j]];
    }
    select_top_k(value, groups, groups, order);
    for (Index i = kept; i < groups; ++i) {
      const double out = mask == GroupMask::zero ? 0.0 : -std::numeric_limits<double>::infinity();
      std::fill_n(key + order[i] * size, size, out);
    }
  }
};

/// Empties the places of token t from `first` on.
template <class S>
void choose_nobody(Routing<S>& routing, Index t, Index first = 0) {
  std::fill(routing.expert.row(t) + first, routing.expert.row(t) + routing.top_k(), kNoExpert);
  std::fill(routing.weight.row(t) + first, routing.weight.row(t) + routing.top_k(), S(0));
}

/// Whether token t takes part where the tokens of a batch are balanced against one another: not
/// when it is padding, nor when a score is NaN or infinite, which would spread to the others.
template <class S>
bool can_be_balanced(MatrixView<const S> logits, const Batch& batch, Index t) {
  if (batch.is_padding(t)) return false;
  return std::all_of(logits.row(t), logits.row(t) + logits.cols(),
                     [](S l) { return std::isfinite(l); });
}

MOE_NAMESPACE_END
