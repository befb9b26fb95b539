// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A loss on its own: logits go through a gate and a plan, and gradients are taken of everything a
// loss may look at. Beside it the same as plain vectors, for formulas that know nothing of moe.
#pragma once

#include "moe/gate/top_k.hpp"
#include "moe/loss/loss.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/plans.hpp"

namespace moe_test {

/// One token that is not padding, as a formula sees it.
struct PlainToken {
  std::size_t index = 0;  ///< t
  naive::Row logit, score, clean, stddev;
  naive::Row weight;                ///< [E], 0 where not chosen
  std::vector<std::size_t> choice;  ///< best first
};

/// What a loss sees.
template <class S>
struct LossCase {
  Matrix<S> logits;
  std::vector<std::uint8_t> mask;
  moe::Batch batch;
  moe::Routing<S> routing;
  moe::Plan plan;
  moe::NoiseRecord<S> noise;
  moe::Buffer<double> scratch;
  bool noisy = false;
  bool tied = false;  ///< a difference in a score or logit could change a choice
  Matrix<S> dlogits, dscores, dweight;

  LossCase(const Matrix<S>& values, Index k, std::vector<std::uint8_t> real = {},
           const moe::CapacityOptions& capacity = {})
      : logits(values), mask(std::move(real)) {
    batch.mask = mask;
    const Index e = logits.cols();
    const moe::TopKGate gate({.num_experts = e, .top_k = k}, {});
    moe::TopKGate::State state;
    routing.resize(logits.rows(), k, e);
    gate.forward(MatrixView<const S>(logits), routing, batch, state);
    routing.clear_padding(batch);
    make_plan(routing, capacity, batch, plan);
  }

  /// The logits become noisy ones: clean + stddev * something.
  void add_noise(const Matrix<S>& clean, const Matrix<S>& stddev) {
    noisy = true;
    noise.resize(logits.rows(), logits.cols());
    noise.clean.eigen() = clean;
    noise.stddev.eigen() = stddev;
  }

  /// The loss; its gradients land in dlogits, dscores, dweight and the noise record.
  template <class L>
  double value_of(const L& loss) {
    dlogits.setZero(logits.rows(), logits.cols());
    dscores.setZero(logits.rows(), logits.cols());
    dweight.setZero(logits.rows(), routing.top_k());
    if (noisy) {
      noise.dclean.eigen().setZero();
      noise.dstddev.eigen().setZero();
    }
    return add(loss);
  }

  /// The same without clearing the gradients.
  template <class L>
  double add(const L& loss) {
    moe::LossGradient<S> gradient{dlogits, dscores, dweight};
    return loss(moe::LossInput<S>{.logits = logits,
                                  .routing = routing,
                                  .plan = plan,
                                  .batch = batch,
                                  .noise = noisy ? &noise : nullptr,
                                  .scratch = &scratch},
                gradient);
  }

  /// Holds all gradients against differences in logits, scores, weights and noise, one at a time.
  template <class L>
  void check_gradients(const L& loss) {
    value_of(loss);
    const Matrix<double> by_logits = dlogits, by_scores = dscores, by_weight = dweight;
    const auto value = [&] { return value_of(loss); };
    check_gradient("logits", logits, by_logits, value, 300);
    check_gradient("scores", routing.scores, by_scores, value, 300);
    check_gradient("weight", routing.weight, by_weight, value, 300);
    if (!noisy) return;
    value_of(loss);
    const Matrix<double> by_clean = noise.dclean.eigen(), by_stddev = noise.dstddev.eigen();
    check_gradient("clean logits", noise.clean, by_clean, value, 300);
    if (!noise.stddev.eigen().isZero(0)) {
      check_gradient("deviations", noise.stddev, by_stddev, value, 300);
    }
  }

  /// Value against formula(tokens, E), gradients against differences, everything finite, padding
  /// untouched.
  template <class L, class Formula>
  void check(const L& loss, Formula&& formula) {
    const auto tokens = plain();
    const double expected =
        tokens.empty() ? 0 : formula(tokens, static_cast<double>(logits.cols()));
    const double value = value_of(loss);
    CHECK(value == Approx(expected).epsilon(1e-11).margin(1e-14));
    CHECK(gradients_are_finite());
    for (Index t = 0; t < logits.rows(); ++t) {
      if (!batch.is_padding(t)) continue;
      CHECK(dlogits.row(t).isZero(0));
      CHECK(dscores.row(t).isZero(0));
      CHECK(dweight.row(t).isZero(0));
    }
    if (!tied) check_gradients(loss);
  }

  bool gradients_are_finite() const {
    return dlogits.allFinite() && dscores.allFinite() && dweight.allFinite() &&
           (!noisy || (noise.dclean.eigen().allFinite() && noise.dstddev.eigen().allFinite()));
  }

  std::vector<PlainToken> plain() const {
    std::vector<PlainToken> tokens;
    const auto row = [](const auto& m, Index t) {
      return naive::Row(m.row(t), m.row(t) + m.cols());
    };
    for (Index t = 0; t < logits.rows(); ++t) {
      if (batch.is_padding(t)) continue;
      PlainToken token;
      token.index = static_cast<std::size_t>(t);
      token.logit = row(MatrixView<const S>(logits), t);
      token.score = row(routing.scores, t);
      token.weight.assign(token.logit.size(), 0);
      if (noisy) token.clean = row(noise.clean, t);
      if (noisy) token.stddev = row(noise.stddev, t);
      for (Index j = 0; j < routing.top_k(); ++j) {
        const auto e = static_cast<std::size_t>(routing.expert(t, j));
        token.choice.push_back(e);
        token.weight[e] = static_cast<double>(routing.weight(t, j));
      }
      tokens.push_back(token);
    }
    return tokens;
  }
};

using PlainTokens = std::vector<PlainToken>;

/// f_e: how often e is among the first `most` choices of each token; mean score of e.
inline naive::Row choices_of(const PlainTokens& tokens, double experts, std::size_t most = 1000) {
  naive::Row count(static_cast<std::size_t>(experts), 0.0);
  for (const PlainToken& token : tokens) {
    for (std::size_t j = 0; j < std::min(most, token.choice.size()); ++j) {
      count[token.choice[j]] += 1;
    }
  }
  return count;
}
inline naive::Row mean_score(const PlainTokens& tokens, double experts) {
  naive::Row mean(static_cast<std::size_t>(experts), 0.0);
  for (const PlainToken& token : tokens) {
    for (std::size_t e = 0; e < mean.size(); ++e) {
      mean[e] += token.score[e] / static_cast<double>(tokens.size());
    }
  }
  return mean;
}
inline double dot(const naive::Row& a, const naive::Row& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
inline double total(const naive::Row& a) { return std::accumulate(a.begin(), a.end(), 0.0); }

/// f(LossCase<double>&) for the shapes and routings every loss must survive.
template <class F>
void for_loss_cases(F&& f) {
  const auto run = [&](const std::string& name, LossCase<double> c) {
    INFO(name << ", T " << c.logits.rows() << " E " << c.logits.cols() << " K "
              << c.routing.top_k());
    f(c);
  };
  run("plain", {random_matrix<double>(7, 4, 1), 2});
  run("K = 1", {random_matrix<double>(6, 5, 2), 1});
  run("K = E", {random_matrix<double>(5, 3, 3), 3});
  run("E = 1", {random_matrix<double>(4, 1, 4), 1});
  run("one token", {random_matrix<double>(1, 4, 5), 2});
  run("masked", {random_matrix<double>(8, 5, 6), 2, {1, 0, 1, 1, 0, 0, 1, 1}});
  run("all masked", {random_matrix<double>(3, 5, 6), 2, {0, 0, 0}});
  run("no token", {Matrix<double>(0, 5), 2});
  run("E = 65", {random_matrix<double>(5, 65, 7), 3, {1, 1, 0, 1, 1}});
  run("E = 512", {random_matrix<double>(3, 512, 8), 4});
  Matrix<double> logits = random_matrix<double>(6, 5, 9);
  logits.col(3).array() += 12;
  run("one expert flooded", {logits, 2});
  logits = random_matrix<double>(6, 6, 10);
  logits.rightCols(3).array() -= 40;
  run("unused experts", {logits, 2});
  LossCase<double> ties(Matrix<double>::Constant(6, 6, 0.25), 2);
  ties.tied = true;
  run("ties", std::move(ties));
}

}  // namespace moe_test
