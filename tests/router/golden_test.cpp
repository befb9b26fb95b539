// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Routers against an independent implementation in PyTorch: tests/golden/make_router_golden.py.
#include "support/golden.hpp"
#include "moe/router/cosine.hpp"
#include "moe/router/input_jitter.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/router/logit_cap.hpp"
#include "moe/router/logit_noise.hpp"
#include "moe/router/mlp.hpp"
#include "router/router_checks.hpp"

namespace moe_test {
namespace {

using Linear = moe::LinearRouter<double>;
constexpr Dims kDims{.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2};
constexpr Batch kBatch{.seed = 7, .step = 3, .first_token = 40, .training = true};

/// Logits, dx and the gradient of every parameter.
template <class R>
Golden check_golden(const std::string& name, const typename R::Options& options = {}) {
  INFO(name);
  Golden golden = read_golden("router_" + name + ".txt");
  auto router = make_router<R>(kDims, options);
  router.visit_parameters(
      [&](std::string_view n, auto& p) { p.value = golden.at(std::string(n)); });
  typename R::State state;
  if constexpr (requires { state.previous_logits; }) {
    state.previous_logits = golden.at("previous");
  }
  Matrix<double> logits(6, 4), dx = Matrix<double>::Zero(6, 5);
  router.forward(golden.at("x"), logits, kBatch, state, {});
  CHECK(distance(logits, golden.at("logits")) < 1e-13);
  router.backward(golden.at("x"), golden.at("dlogits"), dx, state, {});
  CHECK(distance(dx, golden.at("dx")) < 1e-13);
  router.visit_parameters([&](std::string_view n, auto& p) {
    INFO(n);
    CHECK(distance(p.grad, golden.at(std::string(n) + ".grad")) < 1e-13);
  });
  if constexpr (requires { state.dprevious; }) {
    const Eigen::Map<Matrix<double>> dprevious(state.dprevious.data(), 6, 4);
    CHECK(distance(dprevious, golden.at("previous.grad")) < 1e-13);
  }
  return golden;
}

}  // namespace

TEST_CASE("routers agree with PyTorch, noise included", "[router][golden]") {
  check_golden<moe::LearnedNoise<Linear>>("learned_noise");
  check_golden<moe::LogitNoise<Linear>>("gaussian", {.scale = 0.8, .per_expert = true});
  check_golden<moe::LogitNoise<Linear>>("gumbel", {.kind = moe::NoiseKind::gumbel});
  check_golden<moe::InputJitter<Linear>>("jitter", {.epsilon = 0.3});
  check_golden<moe::LogitCap<Linear>>("cap", {.cap = 1.5});
  check_golden<moe::MlpRouter<double>>("mlp", {.residual = true});
  moe::CosineOptions tutel = moe::CosineOptions::tutel(), xmoe = moe::CosineOptions::xmoe();
  tutel.projection_dim = xmoe.projection_dim = 3;
  check_golden<moe::CosineRouter<double>>("cosine_tutel", tutel);
  check_golden<moe::CosineRouter<double>>("cosine_xmoe", xmoe);
}

}  // namespace moe_test
