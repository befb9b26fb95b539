// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a balance loss is: logits and routing -> a scalar and its gradients.
#pragma once

#include <concepts>

#include "moe/plan/plan.hpp"
#include "moe/router/noise_record.hpp"

MOE_NAMESPACE_BEGIN

/// What a loss may look at. The choices in `routing` and `plan.demanded` are those before capacity;
/// padding has none.
template <class S>
struct LossInput {
  MatrixView<const S> logits;  ///< [T, E], before temperature
  const Routing<S>& routing;
  const Plan& plan;
  const Batch& batch;
  NoiseRecord<S>* noise = nullptr;    ///< of a noisy router, else null
  Buffer<double>* scratch = nullptr;  ///< memory that outlives the call; null: the call's own
  mutable Buffer<double> own_scratch = {};

  Index tokens() const { return logits.rows(); }
  Index num_experts() const { return logits.cols(); }

  /// T without padding.
  Index real_tokens() const {
    Index count = 0;
    for (Index t = 0; t < tokens(); ++t) count += batch.is_padding(t) ? 0 : 1;
    return count;
  }

  /// Room for sums in double, all zero; valid until the next call. A loss asks once.
  std::span<double> zeros(Index count) const {
    Buffer<double>& buffer = scratch != nullptr ? *scratch : own_scratch;
    const std::span<double> values = buffer.resize(count);
    std::fill(values.begin(), values.end(), 0.0);
    return values;
  }

  /// f(t) for every token that is not padding, in order.
  template <class F>
  void for_real_tokens(F&& f) const {
    for (Index t = 0; t < tokens(); ++t) {
      if (!batch.is_padding(t)) f(t);
    }
  }
};

/// Where a loss adds its gradient.
template <class S>
struct LossGradient {
  MatrixView<S> dlogits;       ///< [T, E], with respect to the router's logits
  MatrixView<S> dscores;       ///< [T, E], with respect to routing.scores
  MatrixView<S> dweight = {};  ///< [T, K], with respect to routing.weight
};

/// A value type whose call returns the loss, coefficient included, and adds its gradient. Zero when
/// every token is padding.
template <class L, class S>
concept BalanceLoss = requires(const L& loss, const LossInput<S>& in, LossGradient<S>& gradient) {
  { loss(in, gradient) } -> std::convertible_to<double>;
};

MOE_NAMESPACE_END
