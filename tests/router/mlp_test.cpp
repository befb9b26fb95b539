// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/router/mlp.hpp"

#include "moe/router/input_jitter.hpp"
#include "router/router_checks.hpp"

namespace moe_test {
namespace {

using Mlp = moe::MlpRouter<double>;
constexpr Dims kDims{.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2};

}  // namespace

TEST_CASE("a two-layer router computes tanh(x W1) W2 + previous M", "[router][mlp]") {
  auto router = make_router<Mlp>(kDims, {.residual = true});
  CHECK(router.w_in.value.rows() == 32);  // 8 E
  const Matrix<double> x = random_matrix<double>(6, 5, 1), before = random_matrix<double>(6, 4, 2);
  for (const bool with_previous : {false, true}) {
    Mlp::State state;
    if (with_previous) state.previous_logits = before;
    Matrix<double> logits(6, 4);
    router.forward(x, logits, {}, state, {});
    for (Index t = 0; t < 6; ++t) {
      for (Index e = 0; e < 4; ++e) {
        double expected = 0;
        for (Index m = 0; m < 32; ++m) {
          expected += std::tanh(x.row(t).dot(router.w_in.value.row(m))) * router.w_out.value(e, m);
        }
        for (Index f = 0; with_previous && f < 4; ++f) {
          expected += before(t, f) * router.w_previous.value(e, f);
        }
        CHECK(logits(t, e) == Approx(expected));
      }
    }
    CHECK(state.previous_logits.data() == nullptr);  // used once
  }
}

TEST_CASE("a two-layer router has the gradients of its differences", "[router][mlp][gradient]") {
  auto router = make_router<Mlp>(kDims, {.hidden_dim = 7, .residual = true});
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  const Matrix<double> before = random_matrix<double>(6, 4, 2);
  check_router_gradients<Mlp>(router, x, {}, [&](auto& state) { state.previous_logits = before; });
  auto alone = make_router<Mlp>(kDims);
  check_router_gradients(alone, x);
  check_layer_gradients<Mlp>({.hidden_dim = 6}, {});
  check_layer_gradients<moe::InputJitter<Mlp>>({.base = {.hidden_dim = 6}, .epsilon = 0.2},
                                               {.seed = 2, .training = true});
}

TEST_CASE("the gradient to the previous layer's logits is right through two layers",
          "[router][mlp][gradient]") {
  using Layer = moe::MoeLayer<double, Mlp, moe::TopKGate, moe::GatedFfn<double>>;
  // K = E: no choice can flip.
  Layer first({.model_dim = 3, .hidden_dim = 2, .num_experts = 4, .top_k = 4}, 1);
  Layer second(
      {.model_dim = 3, .hidden_dim = 2, .num_experts = 4, .top_k = 4, .router = {.residual = true}},
      2);
  shake(first);
  shake(second);
  Matrix<double> x = random_matrix<double>(5, 3, 1), middle(5, 3), y(5, 3);
  const Matrix<double> dy = random_matrix<double>(5, 3, 2);
  Layer::Tape first_tape, second_tape;
  const auto loss = [&] {
    first.forward(x, middle, first_tape);
    second_tape.router_state.previous_logits = {first_tape.logits.data(), 5, 4};
    second.forward(middle, y, second_tape);
    return y.cwiseProduct(dy).sum();
  };
  moe::zero_grad(first);
  moe::zero_grad(second);
  loss();
  Matrix<double> dmiddle(5, 3), dx(5, 3);
  second.backward(dy, dmiddle, second_tape);
  for (Index i = 0; i < 20; ++i) first_tape.dlogits[i] += second_tape.router_state.dprevious[i];
  first.backward(dmiddle, dx, first_tape);
  check_gradient("x", x, dx, loss);
  const Matrix<double> gradient = first.router().w_in.grad;
  check_gradient("first router", first.router().w_in.value, gradient, loss);
  const Matrix<double> map_gradient = second.router().w_previous.grad;
  CHECK(map_gradient.norm() > 1e-3);
  check_gradient("map", second.router().w_previous.value, map_gradient, loss);
}

TEST_CASE("previous logits of padding rows influence nothing", "[router][mlp]") {
  auto router = make_router<Mlp>(kDims, {.residual = true});
  const Matrix<double> dlogits_all = random_matrix<double>(3, 4, 4);
  Matrix<double> x = random_matrix<double>(3, 5, 1), dlogits = dlogits_all;
  x.row(1).setZero();  // as the layer does
  dlogits.row(1).setZero();
  Matrix<double> before = random_matrix<double>(3, 4, 2), gradient[2], previous_gradient[2];
  const std::vector<std::uint8_t> mask{1, 0, 1};
  for (const int round : {0, 1}) {
    if (round == 1) before.row(1).setConstant(std::numeric_limits<double>::quiet_NaN());
    Mlp::State state;
    state.previous_logits = before;
    Matrix<double> logits(3, 4), dx = Matrix<double>::Zero(3, 5);
    moe::zero_grad(router);
    router.forward(x, logits, {.mask = mask}, state, {});
    router.backward(x, dlogits, dx, state, {});
    gradient[round] = router.w_previous.grad;
    previous_gradient[round] = Eigen::Map<Matrix<double>>(state.dprevious.data(), 3, 4);
  }
  CHECK(same_bits(gradient[0], gradient[1]));
  CHECK(same_bits(previous_gradient[0], previous_gradient[1]));
  CHECK(previous_gradient[0].row(1).isZero(0));
}

TEST_CASE("a two-layer router is the same on any thread count and batch split", "[router][mlp]") {
  const auto router = make_router<moe::MlpRouter<float>>(
      {.model_dim = 33, .hidden_dim = 1, .num_experts = 65, .top_k = 2});
  check_any_threads_any_split(router, random_matrix<float>(101, 33, 1), {});
}

TEST_CASE("a two-layer router refuses what does not fit", "[router][mlp][misuse]") {
  CHECK(sentence_of([] { make_router<Mlp>(kDims, {.hidden_dim = -1}); }) ==
        "moe::MlpRouter: hidden_dim is -1, expected at least 1");
  const auto plain = make_router<Mlp>(kDims);
  const auto residual = make_router<Mlp>(kDims, {.residual = true});
  const Matrix<double> x = random_matrix<double>(6, 5, 1), before = random_matrix<double>(5, 4, 2);
  Matrix<double> logits(6, 4);
  Mlp::State state;
  state.previous_logits = before;
  CHECK(sentence_of([&] { plain.forward(x, logits, {}, state, {}); }) ==
        "moe::MlpRouter::forward: previous logits are given, expected none without "
        "Options::residual");
  state.previous_logits = before;
  CHECK(sentence_of([&] { residual.forward(x, logits, {}, state, {}); }) ==
        "moe::MlpRouter::forward: previous_logits is [5, 4], expected [6, 4]");
}

}  // namespace moe_test
