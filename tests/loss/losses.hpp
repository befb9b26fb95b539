// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A loss on its own: logits go through a gate and a plan, and gradients are taken of the two things
// a loss may look at.
#pragma once

#include "moe/gate/top_k.hpp"
#include "moe/loss/loss.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/plans.hpp"

namespace moe_test {

/// What a loss sees.
template <class S>
struct LossCase {
  Matrix<S> logits;
  std::vector<std::uint8_t> mask;
  moe::Batch batch;
  moe::Routing<S> routing;
  moe::Plan plan;
  Matrix<S> dlogits, dscores;

  LossCase(const Matrix<S>& values, Index k, std::vector<std::uint8_t> real = {},
           const moe::CapacityOptions& capacity = {})
      : logits(values), mask(std::move(real)) {
    batch.mask = mask;
    const Index e = logits.cols();
    const moe::TopKGate gate({.num_experts = e, .top_k = k}, {});
    moe::NoState state;
    routing.resize(logits.rows(), k, e);
    gate.forward(MatrixView<const S>(logits), routing, batch, state);
    routing.clear_padding(batch);
    make_plan(routing, capacity, batch, plan);
  }

  /// The loss; its gradients land in dlogits and dscores.
  template <class L>
  double value_of(const L& loss) {
    dlogits.setZero(logits.rows(), logits.cols());
    dscores.setZero(logits.rows(), logits.cols());
    moe::LossGradient<S> gradient{dlogits, dscores};
    return loss(
        moe::LossInput<S>{.logits = logits, .routing = routing, .plan = plan, .batch = batch},
        gradient);
  }

  /// Holds both gradients against differences in logits and scores, one at a time.
  template <class L>
  void check_gradients(const L& loss) {
    value_of(loss);
    const Matrix<double> by_logits = dlogits, by_scores = dscores;
    const auto value = [&] { return value_of(loss); };
    check_gradient("logits", logits, by_logits, value);
    check_gradient("scores", routing.scores, by_scores, value);
  }
};

}  // namespace moe_test
