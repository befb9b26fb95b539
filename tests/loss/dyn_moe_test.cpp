// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/dyn_moe.hpp"

#include "loss/losses.hpp"
#include "moe/gate/top_any.hpp"
#include "moe/layer/moe_layer.hpp"

namespace moe_test {
namespace {

double formula(const PlainTokens& tokens, double experts, double balance, double efficiency) {
  const auto t_count = static_cast<double>(tokens.size());
  naive::Row f(static_cast<std::size_t>(experts), 0.0), p = f;
  double share = 0;
  for (const PlainToken& token : tokens) {
    const double sum = total(token.weight);
    for (const std::size_t e : token.choice) {
      f[e] += 1 / t_count;
      p[e] += token.weight[e] / sum / t_count;
    }
    share += static_cast<double>(token.choice.size()) * sum / experts / t_count;
  }
  return balance * experts * dot(f, p) + efficiency * share;
}

}  // namespace

TEST_CASE("DynMoE's loss is its formula, with the gradient of its differences", "[loss][dyn_moe]") {
  for_loss_cases([](LossCase<double>& c) {
    c.tied = false;  // only the weights have a gradient, and they move no choice
    for (const auto& [balance, efficiency] : {std::pair{1.0, 1.0}, {1.0, 0.0}, {0.0, 1.0}}) {
      const double b = balance, s = efficiency;
      c.check(moe::DynMoeLoss{0.7, b, s}, [&](const PlainTokens& tokens, double experts) {
        return 0.7 * formula(tokens, experts, b, s);
      });
    }
  });
}

TEST_CASE("DynMoE's loss is k and k / E at balance", "[loss][dyn_moe]") {
  Matrix<double> logits = Matrix<double>::Zero(6, 6);
  for (Index t = 0; t < 6; ++t) {
    logits(t, t) = 1;
    logits(t, (t + 1) % 6) = 1;
  }
  LossCase<double> c(logits, 2);
  CHECK(c.value_of(moe::DynMoeLoss{1, 1, 0}) == Approx(2));
  CHECK(c.value_of(moe::DynMoeLoss{1, 0, 1}) == Approx(2.0 / 6));
}

// The released code has gates g_te in {0, 1} whose gradient goes straight through the step to
// sigmoid(l) - sigmoid(threshold), the loss on g and on g / sum g, and tokens without any g left
// out of the balance.
TEST_CASE("DynMoE's loss has the published gradient through a top-any gate",
          "[loss][dyn_moe][gradient]") {
  constexpr Index kTokens = 9, kExperts = 5;
  using Layer =
      moe::MoeLayer<double, moe::LinearRouter<double>, moe::TopAnyGate<double>, moe::Ffn<double>>;
  Layer layer({.model_dim = 4, .hidden_dim = 3, .num_experts = kExperts, .top_k = 1}, 5);
  layer.gate().threshold.value = 0.5 * random_matrix<double>(1, kExperts, 8);
  layer.gate().threshold.value.array() += 0.3;
  const std::vector<std::uint8_t> mask = {1, 1, 0, 1, 1, 1, 1, 1, 1};
  const Matrix<double> x = 2 * random_matrix<double>(kTokens, 4, 9);
  Matrix<double> y(kTokens, 4), dx(kTokens, 4);
  Layer::Tape tape;
  layer.forward(x, y, tape, {.mask = mask});
  const Matrix<double> logits = x * layer.router().weight.value.transpose();
  const auto logistic = [](double z) { return 1 / (1 + std::exp(-z)); };
  const auto& bar = layer.gate().threshold.value;

  naive::Table g(kTokens, naive::Row(kExperts, 0.0));
  naive::Row f(kExperts, 0.0);
  double real = 0, with = 0, ones = 0;
  for (Index t = 0; t < kTokens; ++t) {
    auto& row = g[static_cast<std::size_t>(t)];
    if (mask[static_cast<std::size_t>(t)] == 0) continue;
    for (Index e = 0; e < kExperts; ++e) {
      row[static_cast<std::size_t>(e)] = logits(t, e) > bar(0, e) ? 1 : 0;
    }
    real += 1;
    ones += total(row);
    if (total(row) == 0) continue;
    with += 1;
    for (std::size_t e = 0; e < f.size(); ++e) f[e] += row[e];
  }
  REQUIRE(with < real);  // some tokens found no expert
  double balance = 0;
  for (const auto& row : g) balance += total(row) > 0 ? dot(row, f) / total(row) : 0;
  const double scale = static_cast<double>(kExperts) / (with * with);
  const double value = tape.add_loss(moe::DynMoeLoss{1});
  CHECK(value == Approx(balance * scale + ones / (real * kExperts)));

  Matrix<double> dlogits = Matrix<double>::Zero(kTokens, kExperts);
  Matrix<double> dbar = Matrix<double>::Zero(1, kExperts);
  for (Index t = 0; t < kTokens; ++t) {
    const auto& row = g[static_cast<std::size_t>(t)];
    const double k = total(row);
    for (Index e = 0; e < kExperts; ++e) {
      const auto at = static_cast<std::size_t>(e);
      if (row[at] == 0) continue;
      const double dg = scale * (f[at] - dot(row, f) / k) / k + 1 / (real * kExperts);
      const double s = logistic(logits(t, e)), b = logistic(bar(0, e));
      dlogits(t, e) += dg * s * (1 - s);
      dbar(0, e) -= dg * b * (1 - b);
    }
  }
  const Matrix<double> none = Matrix<double>::Zero(kTokens, 4);
  layer.backward(none, dx, tape);
  CHECK(distance(layer.router().weight.grad, Matrix<double>(dlogits.transpose() * x)) < 1e-14);
  CHECK(distance(layer.gate().threshold.grad, dbar) < 1e-14);
  CHECK(distance(dx, Matrix<double>(dlogits * layer.router().weight.value)) < 1e-14);
}

TEST_CASE("DynMoE's loss wants somewhere for the gradient of weights", "[loss][dyn_moe][misuse]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2);
  moe::LossGradient<double> gradient{c.dlogits, c.dscores};
  const moe::LossInput<double> in{
      .logits = c.logits, .routing = c.routing, .plan = c.plan, .batch = c.batch};
  CHECK(sentence_of([&] { moe::DynMoeLoss{}(in, gradient); }) ==
        "moe::DynMoeLoss: gradient.dweight is [0, 0], expected [3, 2]");
}

}  // namespace moe_test
