// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/router/cosine.hpp"

#include "moe/router/learned_noise.hpp"
#include "router/router_checks.hpp"

namespace moe_test {
namespace {

using Cosine = moe::CosineRouter<double>;
using moe::CosineOptions;
constexpr Dims kDims{.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2};

CosineOptions small(CosineOptions options) {
  options.projection_dim = 3;
  return options;
}

}  // namespace

TEST_CASE("Tutel's cosine router is exp(t) cos(P x + b, w_e)", "[router][cosine]") {
  auto router = make_router<Cosine>(kDims, small(CosineOptions::tutel()));
  shake(router);
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  for (const double temperature : {-1.0, std::log(2.0), std::log(100.0), 9.0}) {
    router.temperature.value(0, 0) = temperature;
    const Matrix<double> logits = logits_of(router, x);
    for (Index t = 0; t < 6; ++t) {
      for (Index e = 0; e < 4; ++e) {
        double dot = 0, h2 = 0, w2 = 0;
        for (Index r = 0; r < 3; ++r) {
          const double h = x.row(t).dot(router.projection.value.row(r)) + router.bias.value(0, r);
          const double w = router.experts.value(e, r);
          dot += h * w;
          h2 += h * h;
          w2 += w * w;
        }
        const double scale = std::min(std::exp(temperature), 100.0);
        CHECK(logits(t, e) == Approx(scale * dot / std::sqrt(h2 * w2)));
      }
    }
  }
}

TEST_CASE("X-MoE's cosine router is <P x, w_e / |w_e|>", "[router][cosine]") {
  const auto router = make_router<Cosine>(kDims, CosineOptions::xmoe());
  CHECK(router.projection.value.rows() == 16);
  CHECK(router.bias.empty());
  CHECK(router.temperature.empty());
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  const Matrix<double> logits = logits_of(router, x);
  for (Index t = 0; t < 6; ++t) {
    for (Index e = 0; e < 4; ++e) {
      double dot = 0, w2 = 0;
      for (Index r = 0; r < 16; ++r) {
        dot += x.row(t).dot(router.projection.value.row(r)) * router.experts.value(e, r);
        w2 += router.experts.value(e, r) * router.experts.value(e, r);
      }
      CHECK(logits(t, e) == Approx(dot / std::sqrt(w2)));
    }
  }
}

TEST_CASE("X-MoE's experts start orthogonal and are brought back to length 1.5",
          "[router][cosine]") {
  for (const Index e : {4, 16, 40}) {
    auto router = make_router<Cosine>(
        {.model_dim = 5, .hidden_dim = 1, .num_experts = e, .top_k = 2}, CosineOptions::xmoe());
    const Matrix<double> gram = router.experts.value * router.experts.value.transpose();
    for (Index i = 0; i < e; ++i) {
      CHECK(gram(i, i) == Approx(2.25));
      for (Index j = 0; e <= 16 && j < i; ++j) CHECK(gram(i, j) == Approx(0).margin(1e-12));
    }
    const Matrix<double> x = random_matrix<double>(3, 5, 1), before = logits_of(router, x);
    router.experts.value *= 7;
    router.rescale_experts();
    CHECK(router.experts.value.row(1).norm() == Approx(1.5));
    CHECK(distance(logits_of(router, x), before) < 1e-14);
  }
}

TEST_CASE("cosine routers have the gradients of their differences", "[router][cosine][gradient]") {
  for (const CosineOptions& options : {CosineOptions::tutel(), CosineOptions::xmoe()}) {
    auto router = make_router<Cosine>(kDims, small(options));
    shake(router);
    check_router_gradients(router, random_matrix<double>(6, 5, 1));
    check_layer_gradients<Cosine>(small(options), {});
    check_layer_gradients<moe::LearnedNoise<Cosine>>({.base = small(options)},
                                                     {.seed = 3, .training = true}, 2, true);
  }
}

TEST_CASE("a temperature above its bound has no gradient", "[router][cosine]") {
  auto router = make_router<Cosine>(kDims, small(CosineOptions::tutel()));
  shake(router);
  router.temperature.value(0, 0) = 5;
  check_router_gradients(router, random_matrix<double>(6, 5, 1));
  CHECK(router.temperature.grad(0, 0) == 0);
}

TEST_CASE("a zero token and a zero expert have cosine 0, not NaN", "[router][cosine]") {
  CosineOptions options = small(CosineOptions::tutel());
  options.bias = false;
  auto router = make_router<Cosine>(kDims, options);
  router.experts.value.row(2).setZero();
  Matrix<double> x = random_matrix<double>(3, 5, 1), logits(3, 4), dx = Matrix<double>::Zero(3, 5);
  x.row(1).setZero();
  Cosine::State state;
  router.forward(x, logits, {}, state, {});
  CHECK(logits.row(1).isZero(0));
  CHECK(logits.col(2).isZero(0));
  Matrix<double> dlogits = random_matrix<double>(3, 4, 2);
  router.backward(x, dlogits, dx, state, {});
  CHECK(dx.allFinite());
  router.visit_parameters([](std::string_view, auto& p) { CHECK(p.grad.allFinite()); });
}

TEST_CASE("cosine routers are the same on any thread count and batch split", "[router][cosine]") {
  constexpr Dims dims{.model_dim = 33, .hidden_dim = 1, .num_experts = 65, .top_k = 2};
  const Matrix<float> x = random_matrix<float>(101, 33, 1);
  for (const CosineOptions& options : {CosineOptions::tutel(), CosineOptions::xmoe()}) {
    check_any_threads_any_split(make_router<moe::CosineRouter<float>>(dims, options), x, {});
  }
}

TEST_CASE("cosine routers refuse bad options", "[router][cosine][misuse]") {
  CHECK(sentence_of([] { make_router<Cosine>(kDims, {.projection_dim = 0}); }) ==
        "moe::CosineRouter: projection_dim is 0, expected at least 1");
  CHECK(sentence_of([] { make_router<Cosine>(kDims, {.initial_scale = 0}); }) ==
        "moe::CosineRouter: initial_scale is 0.000000, expected a finite value above 0");
}

}  // namespace moe_test
