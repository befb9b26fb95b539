// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every loss through a layer of every gate, where others have had NaN: perfect balance, no noise,
// experts that nobody uses, one that all use, only padding.
#include "gate/every_gate.hpp"
#include "loss/all_losses.hpp"
#include "moe/router/learned_noise.hpp"

namespace moe_test {

TEMPLATE_TEST_CASE("no loss or gradient is NaN or Inf at the edges, under any gate",
                   "[loss][every_gate]", MOE_TEST_GATES) {
  using Router = moe::LearnedNoise<moe::LinearRouter<double>>;
  using Layer = moe::MoeLayer<double, Router, TestType, moe::Ffn<double>>;
  constexpr Index kTokens = 12, kExperts = 6, kDim = 3;
  const Matrix<double> x = random_matrix<double>(kTokens, kDim, 1);
  const Matrix<double> dy = random_matrix<double>(kTokens, kDim, 2);
  const std::vector<std::uint8_t> nobody(kTokens, 0);
  struct Edge {
    const char* name;
    double weight;          ///< of the router
    double bias[kExperts];  ///< logits of every token
    std::span<const std::uint8_t> mask = {};
  };
  const Edge edges[] = {
      {"perfect balance", 0, {}},
      {"balance far from zero", 0, {-300, -300, -300, -300, -300, -300}},
      {"unused experts", 1, {-500, 0, -500, 0, -500, 0}},
      {"unreachable experts", 1, {0, 0, -kInfinity, 0, -kInfinity, 0}},
      {"one expert for all", 1, {0, 0, 0, 0, 800, 0}},
      {"all tokens masked", 1, {}, nobody},
  };
  for (const double floor : {0.0, 1e-2}) {  // 0: no noise at all
    for (const Edge& edge : edges) {
      const bool balancing =
          std::is_same_v<TestType, moe::AuctionGate> || std::is_same_v<TestType, moe::SinkhornGate>;
      if (balancing && edge.bias[2] == -kInfinity) continue;  // tokens that cannot be balanced
      Layer layer({.model_dim = kDim,
                   .hidden_dim = 2,
                   .num_experts = kExperts,
                   .top_k = std::is_same_v<TestType, moe::AuctionGate> ? 1 : 2,
                   .router = {.base = {.bias = true}, .floor = floor}},
                  4);
      layer.router().base.weight.value *= edge.weight;
      for (Index e = 0; e < kExperts; ++e) layer.router().base.bias.value(0, e) = edge.bias[e];
      layer.router().noise_weight.value.setZero();
      const Matrix<double> still = Matrix<double>::Zero(kTokens, kDim);
      for_all_losses(kTokens, kExperts, [&](const char* name, const auto& loss) {
        INFO(name << ", " << edge.name << ", noise floor " << floor);
        // the cross-entropy against an expert that cannot be reached is infinite
        if (edge.bias[2] == -kInfinity && std::string(name) == "supervised") return;
        typename Layer::Tape tape;
        Matrix<double> y(kTokens, kDim), dx(kTokens, kDim);
        layer.forward(x, y, tape, {.mask = edge.mask, .seed = 3});
        if (floor == 0) tape.router_state.noise.stddev.eigen().setZero();
        const double value = tape.add_loss(loss);
        CHECK(std::isfinite(value));
        if (!edge.mask.empty()) CHECK(value == 0);
        moe::zero_grad(layer);
        layer.backward(dy, dx, tape);
        CHECK(dx.allFinite());
        layer.visit_parameters([&](std::string_view part, auto& p) {
          INFO(part);
          CHECK(p.grad.allFinite());
          if (!edge.mask.empty()) CHECK(p.grad.isZero(0));
        });
      });
    }
  }
}

}  // namespace moe_test
