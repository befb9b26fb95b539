// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/router/logit_cap.hpp"

#include "moe/router/learned_noise.hpp"
#include "router/router_checks.hpp"

namespace moe_test {
namespace {

using Capped = moe::LogitCap<moe::LinearRouter<double>>;
constexpr Dims kDims{.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2};
constexpr Batch kTraining{.seed = 7, .training = true};

}  // namespace

TEST_CASE("a logit cap is cap * tanh(logit / cap)", "[router][cap]") {
  auto router = make_router<Capped>(kDims, {.cap = 1.5});
  shake(router);
  const Matrix<double> x = 3 * random_matrix<double>(6, 5, 1);
  const Matrix<double> plain = x * router.base.weight.value.transpose();
  const Matrix<double> capped = logits_of(router, x);
  for (Index i = 0; i < plain.size(); ++i) {
    const double v = plain.data()[i] / 1.5;
    const double tanh = 1 - 2 / (std::exp(2 * v) + 1);
    CHECK(capped.data()[i] == Approx(1.5 * tanh));
  }
  CHECK(capped.cwiseAbs().maxCoeff() <= 1.5);
  CHECK(plain.cwiseAbs().maxCoeff() > 1.5);
}

TEST_CASE("a logit cap has the gradients of its differences", "[router][cap][gradient]") {
  auto router = make_router<Capped>(kDims, {.base = {.bias = true}, .cap = 1.5});
  shake(router);
  check_router_gradients(router, random_matrix<double>(6, 5, 1), kTraining);
  check_layer_gradients<Capped>({.cap = 2}, {});
  check_layer_gradients<moe::LearnedNoise<Capped>>({.base = {.cap = 2}}, kTraining, 2, true);
}

TEST_CASE("a logit cap holds infinite logits and passes NaN on", "[router][cap]") {
  auto router = make_router<moe::LogitCap<moe::LinearRouter<float>>>(kDims, {.cap = 30});
  Matrix<float> x = Matrix<float>::Constant(2, 5, 1e38f);
  x(1, 0) = std::numeric_limits<float>::quiet_NaN();
  const Matrix<float> logits = logits_of(router, x);
  CHECK(logits.row(0).cwiseAbs().maxCoeff() <= 30);
  CHECK(logits.row(1).array().isNaN().all());
}

TEST_CASE("a logit cap keeps nothing for backward in evaluation, and says so",
          "[router][cap][misuse]") {
  auto router = make_router<Capped>(kDims, {.cap = 2});
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  Matrix<double> logits(6, router.num_experts()), dx(6, 5);
  typename Capped::State state;
  router.forward(x, logits, kTraining, state, {});
  CHECK(state.slope.size() == logits.size());
  router.forward(x, logits, {}, state, {});
  CHECK(state.slope.size() == 0);
  CHECK(
      sentence_of([&] { router.backward(x, logits, dx, state, {}); }) ==
      "moe::LogitCap::backward: the state has 0 values, their number after the forward of x is 24");
}

TEST_CASE("a logit cap refuses a cap that is not positive", "[router][cap][misuse]") {
  CHECK(sentence_of([] { make_router<Capped>(kDims, {.cap = 0}); }) ==
        "moe::LogitCap: cap is 0.000000, expected a finite value above 0");
}

}  // namespace moe_test
