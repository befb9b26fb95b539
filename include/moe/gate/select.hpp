// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What gates share, one token's row at a time: softmax, top-k selection, weights and their
// gradients.
#pragma once

#include <cmath>

#include "moe/gate/routing.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

inline void check_top_k(std::string_view function, const Dims& dims) {
  check_positive(function, "top_k", dims.top_k);
  check_positive(function, "num_experts", dims.num_experts);
  if (dims.top_k > dims.num_experts) {
    fail(function, "top_k is ", dims.top_k, ", expected at most num_experts = ", dims.num_experts);
  }
}

}  // namespace detail

/// p_e = exp(scale l_e - max) / sum. A NaN anywhere in the row makes the whole row NaN, so that a
/// broken score is seen instead of silently skipped.
template <class S>
void softmax_row(const S* logits, Index n, S scale, S* p) {
  S largest = logits[0];
  for (Index e = 1; e < n; ++e) largest = logits[e] > largest ? logits[e] : largest;
  S sum = 0;
  for (Index e = 0; e < n; ++e) {
    p[e] = std::exp((logits[e] - largest) * scale);
    sum += p[e];
  }
  for (Index e = 0; e < n; ++e) p[e] /= sum;
}

/// True when score a of index i ranks before score b of index j: larger first, ties to the lower
/// index, NaN behind every number.
template <class S>
bool ranks_before(S a, Index i, S b, Index j) {
  const bool a_nan = std::isnan(a), b_nan = std::isnan(b);
  if (a_nan != b_nan) return b_nan;
  if (!a_nan && a != b) return a > b;
  return i < j;
}

/// The k best of n scores, best first, by insertion into a sorted list: exact and stable for any n.
template <class S>
void select_top_k(const S* scores, Index n, Index k, std::int32_t* chosen) {
  Index count = 0;
  for (Index e = 0; e < n; ++e) {
    if (count == k && !ranks_before(scores[e], e, scores[chosen[k - 1]], Index{chosen[k - 1]}))
      continue;
    Index place = count < k ? count++ : k - 1;
    for (; place > 0 &&
           ranks_before(scores[e], e, scores[chosen[place - 1]], Index{chosen[place - 1]});
         --place) {
      chosen[place] = chosen[place - 1];
    }
    chosen[place] = static_cast<std::int32_t>(e);
  }
}

/// Weights of token t: the scores of its chosen experts, divided by their sum when `renormalize`.
template <class S>
void weigh_chosen(Routing<S>& routing, Index t, bool renormalize) {
  const Index k = routing.top_k();
  S sum = 0;
  for (Index j = 0; j < k; ++j) {
    routing.weight(t, j) = routing.scores(t, routing.expert(t, j));
    sum += routing.weight(t, j);
  }
  if (!renormalize) return;
  for (Index j = 0; j < k; ++j) routing.weight(t, j) /= sum;
}

/// Adds the gradient of one token's logits. With w_j = p_j / sum: dp_j += (dw_j - sum_i w_i dw_i) /
/// sum.
template <class S>
void softmax_gate_backward(const Routing<S>& routing, Index t, bool renormalize, S scale,
                           const S* dweight, const S* dscores, S* dlogits) {
  const Index k = routing.top_k(), n = routing.num_experts();
  if (routing.expert(t, 0) == kNoExpert) return;  // padding
  S sum = 1, mean = 0;
  if (renormalize) {
    sum = 0;
    for (Index j = 0; j < k; ++j) {
      sum += routing.scores(t, routing.expert(t, j));
      mean += routing.weight(t, j) * dweight[j];
    }
  }
  const auto chosen_gradient = [&](Index j) { return (dweight[j] - mean) / sum; };
  S inner = 0;  // sum_e p_e dp_e
  for (Index e = 0; e < n; ++e) inner += routing.scores(t, e) * dscores[e];
  for (Index j = 0; j < k; ++j) {
    inner += routing.scores(t, routing.expert(t, j)) * chosen_gradient(j);
  }
  for (Index e = 0; e < n; ++e) {
    dlogits[e] += scale * routing.scores(t, e) * (dscores[e] - inner);
  }
  for (Index j = 0; j < k; ++j) {
    const std::int32_t e = routing.expert(t, j);
    dlogits[e] += scale * routing.scores(t, e) * chosen_gradient(j);
  }
}

MOE_NAMESPACE_END
