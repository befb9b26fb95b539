// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Routers that draw random numbers: learned noise, fixed noise, input jitter.
#include "moe/router/input_jitter.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/router/logit_noise.hpp"
#include "router/router_checks.hpp"

namespace moe_test {
namespace {

using Linear = moe::LinearRouter<double>;
using Learned = moe::LearnedNoise<Linear>;
using Fixed = moe::LogitNoise<Linear>;
using Jitter = moe::InputJitter<Linear>;
using moe::NoiseKind;

constexpr Dims kDims{.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2};
constexpr Batch kTraining{.seed = 7, .step = 3, .first_token = 40, .training = true};

Matrix<double> clean_logits(const Linear& router, const Matrix<double>& x) {
  return x * router.weight.value.transpose();
}

}  // namespace

TEST_CASE("learned noise is clean + normal * (softplus(x Wn) + floor)", "[router][noise]") {
  auto router = make_router<Learned>(kDims, {.floor = 0.03});
  shake(router);
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  const Matrix<double> clean = clean_logits(router.base, x);
  Learned::State state;
  Matrix<double> logits(6, 4);
  router.forward(x, logits, kTraining, state, {});
  const moe::Draws draws(kTraining, "router.learned_noise");
  for (Index t = 0; t < 6; ++t) {
    for (Index e = 0; e < 4; ++e) {
      const double pre = x.row(t).dot(router.noise_weight.value.row(e));
      const double sigma = std::log(1 + std::exp(pre)) + 0.03;
      CHECK(logits(t, e) == Approx(clean(t, e) + draws.normal(t, e) * sigma));
      CHECK(state.noise.clean(t, e) == Approx(clean(t, e)));
      CHECK(state.noise.stddev(t, e) == Approx(sigma));
    }
  }
}

TEST_CASE("learned noise starts with both maps at zero when told to, as published",
          "[router][noise]") {
  auto router = make_router<Learned>(kDims, {.base = {.bias = true, .zero_init = true}});
  router.visit_parameters([](std::string_view, auto& p) { CHECK(p.value.isZero(0)); });
  Learned::State state;
  Matrix<double> logits(6, 4);
  router.forward(random_matrix<double>(6, 5, 1), logits, kTraining, state, {});
  CHECK(state.noise.stddev(2, 3) == Approx(std::log(2.0) + 1e-2));
}

TEST_CASE("noise is off in evaluation and its stddev is 0, not NaN", "[router][noise][bug]") {
  // Elsewhere evaluation divides by sigma = 0 and the load is NaN.
  auto learned = make_router<Learned>(kDims);
  shake(learned);
  auto fixed = make_router<Fixed>(kDims, {.scale = 2});
  auto jitter = make_router<Jitter>(kDims, {.epsilon = 0.3});
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  const Batch evaluation{.seed = 7};

  Learned::State state;
  Matrix<double> logits(6, 4), dx = Matrix<double>::Zero(6, 5);
  learned.forward(x, logits, evaluation, state, {});
  CHECK(same_bits(logits, logits_of(learned.base, x)));
  CHECK(state.noise.stddev.eigen().isZero(0));
  CHECK(same_bits(state.noise.clean, logits));
  learned.backward(x, logits, dx, state, {});
  CHECK(learned.noise_weight.grad.size() == 0);  // untouched: no noise, no gradient

  Fixed::State fixed_state;
  fixed.forward(x, logits, evaluation, fixed_state, {});
  CHECK(same_bits(logits, logits_of(fixed.base, x)));
  CHECK(fixed_state.noise.stddev.eigen().isZero(0));
  CHECK(same_bits(logits_of(jitter, x, evaluation), logits_of(jitter.base, x)));
}

TEST_CASE("learned noise has no softplus overflow", "[router][noise]") {
  auto router = make_router<moe::LearnedNoise<moe::LinearRouter<float>>>(kDims);
  router.noise_weight.value.row(0).setConstant(1e4f);
  router.noise_weight.value.row(1).setConstant(-1e4f);
  const Matrix<float> x = Matrix<float>::Constant(2, 5, 1.0f);
  decltype(router)::State state;
  Matrix<float> logits(2, 4), dx = Matrix<float>::Zero(2, 5);
  router.forward(x, logits, kTraining, state, {});
  CHECK(logits.allFinite());
  CHECK(state.noise.stddev(0, 0) == Approx(5e4f));
  CHECK(state.noise.stddev(0, 1) == Approx(1e-2f));
  router.backward(x, Matrix<float>::Ones(2, 4).eval(), dx, state, {});
  CHECK(dx.allFinite());
  CHECK(router.noise_weight.grad.allFinite());
}

TEST_CASE("learned noise has the gradients of its differences", "[router][noise][gradient]") {
  auto router = make_router<Learned>(kDims, {.base = {.bias = true}});
  shake(router);
  check_router_gradients(router, random_matrix<double>(6, 5, 1), kTraining);
  check_router_gradients(router, random_matrix<double>(6, 5, 1), {.seed = 7});
  for (const Index k : {1, 2, 4}) {
    check_layer_gradients<Learned>({.base = {.bias = true}}, kTraining, k, true);
  }
}

TEST_CASE("a frozen noise map gets no gradient", "[router][noise]") {
  auto router = make_router<Learned>(kDims);
  router.noise_weight.trainable = false;
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  Learned::State state;
  Matrix<double> logits(6, 4), dx = Matrix<double>::Zero(6, 5);
  router.forward(x, logits, kTraining, state, {});
  router.backward(x, logits, dx, state, {});
  CHECK(router.noise_weight.grad.size() == 0);
  CHECK(router.base.weight.grad.norm() > 0);
}

TEST_CASE("fixed noise is clean + scale * noise", "[router][noise]") {
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  const moe::Draws draws(kTraining, "router.logit_noise");
  const auto check = [&](const Fixed::Options& options, double scale, auto&& noise, double sigma) {
    const auto router = make_router<Fixed>(kDims, options);
    const Matrix<double> clean = clean_logits(router.base, x);
    Fixed::State state;
    Matrix<double> logits(6, 4);
    router.forward(x, logits, kTraining, state, {});
    for (Index t = 0; t < 6; ++t) {
      for (Index e = 0; e < 4; ++e) {
        CHECK(logits(t, e) == Approx(clean(t, e) + scale * noise(t, e)));
        CHECK(state.noise.stddev(t, e) == sigma);
        CHECK(state.noise.clean(t, e) == Approx(clean(t, e)));
      }
    }
  };
  const auto normal = [&](Index t, Index e) { return draws.normal(t, e); };
  check({.scale = 0.5}, 0.5, normal, 0.5);
  check({.scale = 0.5, .per_expert = true}, 0.125, normal, 0.125);  // Tutel, V-MoE: sigma / E
  check(
      {.kind = NoiseKind::gumbel}, 1, [&](Index t, Index e) { return draws.gumbel(t, e); }, 0);
  check(
      {.kind = NoiseKind::uniform, .scale = 0.1}, 0.1,
      [&](Index t, Index e) { return 2 * draws.uniform(t, e) - 1; }, 0);
  check({.scale = 0}, 0, normal, 0);
}

TEST_CASE("fixed noise has the gradients of its differences", "[router][noise][gradient]") {
  for (const NoiseKind kind : {NoiseKind::gaussian, NoiseKind::gumbel, NoiseKind::uniform}) {
    auto router = make_router<Fixed>(kDims, {.kind = kind});
    check_router_gradients(router, random_matrix<double>(6, 5, 1), kTraining);
    check_layer_gradients<Fixed>({.kind = kind, .scale = 0.4}, kTraining, 2, true);
  }
}

TEST_CASE("Gumbel noise samples experts by their probability", "[router][noise]") {
  using Random = moe::LogitNoise<moe::LinearRouter<float>>;
  auto router = make_router<Random>({.model_dim = 1, .hidden_dim = 1, .num_experts = 3, .top_k = 1},
                                    {.kind = NoiseKind::gumbel});
  router.base.weight.value << std::log(0.2f), std::log(0.3f), std::log(0.5f);
  const Matrix<float> x = Matrix<float>::Ones(20000, 1);
  const Matrix<float> logits = logits_of(router, x, kTraining);
  double share[3] = {};
  for (Index t = 0; t < x.rows(); ++t) {
    Index best = 0;
    logits.row(t).maxCoeff(&best);
    share[best] += 1.0 / 20000;
  }
  CHECK(share[0] == Approx(0.2).margin(0.012));
  CHECK(share[1] == Approx(0.3).margin(0.012));
}

TEST_CASE("jitter multiplies each value of the router's input", "[router][jitter]") {
  const auto router = make_router<Jitter>(kDims, {.epsilon = 0.2});
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  Matrix<double> jittered = x;
  const moe::Draws draws(kTraining, "router.input_jitter");
  for (Index t = 0; t < 6; ++t) {
    for (Index d = 0; d < 5; ++d) {
      const double factor = 1 + 0.2 * (2 * draws.uniform(t, d) - 1);
      CHECK(std::abs(factor - 1) < 0.2);
      jittered(t, d) *= factor;
    }
  }
  CHECK(distance(logits_of(router, x, kTraining), clean_logits(router.base, jittered)) < 1e-14);
}

TEST_CASE("jitter in place changing the experts' input: experts see the tokens as they are",
          "[router][jitter][bug]") {
  // HF Mixtral and Phimoe multiply the hidden states in place.
  using Layer = moe::MoeLayer<double, Jitter, moe::TopKGate, moe::GatedFfn<double>>;
  Layer layer({.model_dim = 5,
               .hidden_dim = 3,
               .num_experts = 1,
               .top_k = 1,
               .router = {.epsilon = 0.5}});  // one expert: its weight is 1 whatever the logits
  const Matrix<double> x = random_matrix<double>(6, 5, 1), before = x;
  Matrix<double> y(6, 5), quiet(6, 5);
  Layer::Tape tape;
  Layer::Workspace workspace;
  layer.forward(x, y, tape, {.seed = 7});
  layer.forward(x, quiet, workspace);
  CHECK(same_bits(x, before));
  CHECK(same_bits(y, quiet));
}

TEST_CASE("jitter has the gradients of its differences", "[router][jitter][gradient]") {
  auto router = make_router<Jitter>(kDims, {.base = {.bias = true}, .epsilon = 0.4});
  check_router_gradients(router, random_matrix<double>(6, 5, 1), kTraining);
  for (const Index k : {1, 3}) {
    check_layer_gradients<Jitter>({.epsilon = 0.4}, kTraining, k);
  }
}

TEST_CASE("noises compose, and the losses still find the noise record", "[router][noise]") {
  using Both = moe::InputJitter<moe::LearnedNoise<moe::LinearRouter<double>>>;
  check_layer_gradients<Both>({.base = {.floor = 0.1}, .epsilon = 0.2}, kTraining, 2, true);
}

TEST_CASE("noise is the same on any thread count and batch split", "[router][noise]") {
  constexpr Dims dims{.model_dim = 33, .hidden_dim = 1, .num_experts = 65, .top_k = 2};
  const Matrix<float> x = random_matrix<float>(301, 33, 1);
  using LinearF = moe::LinearRouter<float>;
  auto learned = make_router<moe::LearnedNoise<LinearF>>(dims);
  shake(learned);
  check_any_threads_any_split(learned, x, kTraining);
  check_any_threads_any_split(make_router<moe::LogitNoise<LinearF>>(dims), x, kTraining);
  check_any_threads_any_split(make_router<moe::InputJitter<LinearF>>(dims), x, kTraining);

  Batch other = kTraining;
  const Matrix<float> logits = logits_of(learned, x, other);
  CHECK(same_bits(logits, logits_of(learned, x, other)));
  ++other.step;
  CHECK_FALSE(same_bits(logits, logits_of(learned, x, other)));
}

TEST_CASE("a noisy layer routes alike for the same seed and not for another", "[router][noise]") {
  using Layer = moe::MoeLayer<float, moe::LogitNoise<moe::LinearRouter<float>>>;
  const Layer layer({.model_dim = 8, .hidden_dim = 4, .num_experts = 512, .top_k = 3}, 1);
  const Matrix<float> x = random_matrix<float>(40, 8, 1);
  const auto choices = [&](std::uint64_t seed, Index threads) {
    Threads pool(threads);
    Layer::Tape tape(pool);
    Matrix<float> y(40, 8);
    layer.forward(x, y, tape, {.seed = seed});
    return std::vector<std::int32_t>(tape.routing.expert.data(), tape.routing.expert.data() + 120);
  };
  CHECK(choices(1, 1) == choices(1, 3));
  CHECK(choices(1, 1) != choices(2, 1));
}

TEST_CASE("noisy routers work without tokens and with one expert", "[router][noise]") {
  const Dims one{.model_dim = 5, .hidden_dim = 1, .num_experts = 1, .top_k = 1};
  auto router = make_router<moe::InputJitter<Learned>>(one);
  check_router_gradients(router, random_matrix<double>(3, 5, 1), kTraining);
  CHECK(logits_of(router, Matrix<double>(0, 5), kTraining).rows() == 0);
}

TEST_CASE("a NaN token makes noisy logits NaN for itself alone", "[router][noise]") {
  auto router = make_router<moe::InputJitter<Learned>>(kDims);
  shake(router);
  Matrix<double> x = random_matrix<double>(4, 5, 1);
  const Matrix<double> before = logits_of(router, x, kTraining);
  x(2, 1) = std::numeric_limits<double>::quiet_NaN();
  const Matrix<double> after = logits_of(router, x, kTraining);
  CHECK(same_bits(after.topRows(2), before.topRows(2)));
  CHECK(same_bits(after.bottomRows(1), before.bottomRows(1)));
  CHECK(after.row(2).array().isNaN().all());
}

TEST_CASE("noisy routers do not allocate from the second call on", "[router][noise]") {
  auto router = make_router<moe::InputJitter<Learned>>(kDims);
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  decltype(router)::State state;
  Matrix<double> logits(6, 4), dx = Matrix<double>::Zero(6, 5);
  const double* record = nullptr;
  for (int round = 0; round < 3; ++round) {
    router.forward(x, logits, kTraining, state, {});
    router.backward(x, logits, dx, state, {});
    if (round > 0) CHECK(state.noise.clean.data() == record);
    record = state.noise.clean.data();
  }
}

TEST_CASE("noisy routers refuse bad options", "[router][noise][misuse]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(sentence_of([&] { make_router<Learned>(kDims, {.floor = -1}); }) ==
        "moe::LearnedNoise: floor is -1.000000, expected a finite value, 0 or more");
  CHECK(sentence_of([&] { make_router<Fixed>(kDims, {.scale = nan}); }) ==
        "moe::LogitNoise: scale is nan, expected a finite value, 0 or more");
  CHECK(sentence_of([&] { make_router<Jitter>(kDims, {.epsilon = 1}); }) ==
        "moe::InputJitter: epsilon is 1.000000, expected at least 0, below 1");
  CHECK(sentence_of([&] { make_router<Jitter>(kDims, {.epsilon = nan}); }) ==
        "moe::InputJitter: epsilon is nan, expected at least 0, below 1");
}

}  // namespace moe_test
