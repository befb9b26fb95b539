// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A router called outside a layer says what does not fit, before it writes.
#include "router/every_router.hpp"

namespace moe_test {

/// The router of several layers in a row.
struct Mlp {
  template <class S>
  using Router = moe::MlpRouter<S>;
  template <class S>
  static typename Router<S>::Options options() {
    return {.residual = true};
  }
};

TEMPLATE_TEST_CASE("every router refuses shapes that do not fit", "[router][misuse]",
                   EVERY_ROUTER) {
  auto router = make_router<typename TestType::template Router<float>>(
      {.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2},
      TestType::template options<float>());
  const std::vector<std::int64_t> token_ids = ids(6);
  const std::vector<std::uint8_t> short_mask(5, 1);
  typename decltype(router)::State state;
  Batch batch{.token_ids = token_ids, .training = true};
  const auto forward = [&](Index d, Index t, Index e) {
    Matrix<float> logits = Matrix<float>::Constant(t, e, 7);
    const Matrix<float> x = random_matrix<float>(6, d, 1);
    const std::string sentence = sentence_of([&] { router.forward(x, logits, batch, state, {}); });
    CHECK((logits.array() == 7).all());
    return sentence.substr(std::min(sentence.size(), sentence.find("::forward: ")));
  };
  CHECK(forward(4, 6, 4) == "::forward: x has 4 columns, the router's model_dim is 5");
  CHECK(forward(5, 7, 4) == "::forward: logits is [7, 4], expected [6, 4]");
  CHECK(forward(5, 6, 3) == "::forward: logits is [6, 3], expected [6, 4]");
  batch.mask = short_mask;
  CHECK(forward(5, 6, 4) == "::forward: mask has 5 values, the number of tokens is 6");
  batch.mask = {};

  const Matrix<float> x = random_matrix<float>(6, 5, 1);
  Matrix<float> logits(6, 4);
  router.forward(x, logits, batch, state, {});
  const auto backward = [&](Index d, Index e, Index t) {
    const Matrix<float> in = random_matrix<float>(6, d, 1), dlogits = random_matrix<float>(6, e, 2);
    Matrix<float> dx = Matrix<float>::Constant(t, 5, 7);
    const std::string sentence = sentence_of([&] { router.backward(in, dlogits, dx, state, {}); });
    CHECK((dx.array() == 7).all());
    return sentence.substr(std::min(sentence.size(), sentence.find("::backward: ")));
  };
  CHECK(backward(4, 4, 6) == "::backward: x has 4 columns, the router's model_dim is 5");
  CHECK(backward(5, 3, 6) == "::backward: dlogits is [6, 3], expected [6, 4]");
  CHECK(backward(5, 4, 7) == "::backward: dx is [7, 5], expected [6, 5]");
}

TEMPLATE_TEST_CASE("a router's backward refuses the state of another call", "[router][misuse]",
                   Kind<1>, Kind<2>, Kind<3>, Kind<4>, Kind<5>, Kind<6>, Kind<7>, Kind<8>,
                   Kind<9>) {
  auto router = make_router<typename TestType::template Router<float>>(
      {.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2},
      TestType::template options<float>());
  const std::vector<std::int64_t> token_ids = ids(6);
  const Matrix<float> x = random_matrix<float>(6, 5, 1);
  Matrix<float> logits(6, 4), dx(6, 5);
  typename decltype(router)::State state;
  router.forward(x, logits, {.token_ids = token_ids, .training = true}, state, {});
  const Matrix<float> fewer = x.topRows(4);
  CHECK(sentence_of([&] {
          router.backward(fewer, MatrixView<const float>(logits).middle_rows(0, 4),
                          MatrixView<float>(dx).middle_rows(0, 4), state, {});
        }).find("::backward: the state has ") != std::string::npos);
}

TEMPLATE_TEST_CASE("every router refuses parameters that do not fit one another",
                   "[router][misuse]", EVERY_ROUTER, Mlp) {
  auto router = make_router<typename TestType::template Router<float>>(
      {.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2},
      TestType::template options<float>());
  using R = decltype(router);
  const std::vector<std::int64_t> token_ids = ids(6);
  const Batch batch{.token_ids = token_ids, .training = true};
  const Matrix<float> x = random_matrix<float>(6, 5, 1);
  Matrix<float> logits(6, 4);
  typename R::State state;
  router.forward(x, logits, batch, state, {});
  const auto refuses = [&](Matrix<float>& value, Index rows, Index cols) {
    const Matrix<float> kept = value;
    value = Matrix<float>::Ones(rows, cols);
    logits.setConstant(7);
    Matrix<float> dx = Matrix<float>::Zero(6, 5);
    CHECK(sentence_of([&] { router.forward(x, logits, batch, state, {}); }) != "");
    CHECK((logits.array() == 7).all());
    CHECK(sentence_of([&] { router.backward(x, logits, dx, state, {}); }) != "");
    value = kept;
  };
  router.visit_parameters([&](std::string_view name, moe::Parameter<float>& p) {
    CAPTURE(name);
    const Index rows = p.value.rows(), cols = p.value.cols();
    refuses(p.value, rows + 1, cols);
    refuses(p.value, rows, cols + 1);
    if (rows > 1) refuses(p.value, rows - 1, cols);
    if (cols > 1) refuses(p.value, rows, cols - 1);
  });
}

TEMPLATE_TEST_CASE("every router's backward goes without dx", "[router]", EVERY_ROUTER) {
  auto router = make_router<typename TestType::template Router<float>>(
      {.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2},
      TestType::template options<float>());
  const std::vector<std::int64_t> token_ids = ids(6);
  const Matrix<float> x = random_matrix<float>(6, 5, 1), dlogits = random_matrix<float>(6, 4, 2);
  Matrix<float> logits(6, 4), dx = Matrix<float>::Zero(6, 5);
  std::vector<Matrix<float>> gradients[2];
  for (const std::size_t round : {0u, 1u}) {
    typename decltype(router)::State state;
    moe::zero_grad(router);
    router.forward(x, logits, {.token_ids = token_ids, .training = true}, state, {});
    router.backward(x, dlogits, round == 0 ? MatrixView<float>(dx) : MatrixView<float>(), state,
                    {});
    router.visit_parameters([&](std::string_view, auto& p) { gradients[round].push_back(p.grad); });
  }
  for (std::size_t i = 0; i < gradients[0].size(); ++i) {
    CHECK(same_bits(gradients[0][i], gradients[1][i]));
  }
}

TEST_CASE("a layer refuses a router whose parameters do not fit, however deep",
          "[router][misuse]") {
  using Layer = moe::MoeLayer<float, moe::InputJitter<moe::LogitCap<moe::LinearRouter<float>>>>;
  Layer layer({.model_dim = 5, .hidden_dim = 3, .num_experts = 4, .top_k = 2});
  layer.router().base.base.bias = moe::Parameter<float>(1, 3);
  const Matrix<float> x = random_matrix<float>(6, 5, 1);
  Matrix<float> y = Matrix<float>::Constant(6, 5, 7);
  Layer::Tape tape;
  CHECK(sentence_of([&] { layer.forward(x, y, tape); }) ==
        "moe::MoeLayer::forward: the router's bias is [1, 3], expected [1, 4]");
  CHECK((y.array() == 7).all());
}

TEST_CASE("a hash router refuses a base of other experts than its table", "[router][misuse]") {
  using Router = moe::HashRouter<moe::LinearRouter<float>>;
  Router router = make_router<Router>(
      {.model_dim = 5, .hidden_dim = 1, .num_experts = 4, .top_k = 2}, {.vocabulary = 11});
  router.base.weight = moe::Parameter<float>(3, 5);
  const std::vector<std::int64_t> token_ids = ids(6);
  Matrix<float> logits(6, 3);
  Router::State state;
  CHECK(sentence_of([&] {
          router.forward(random_matrix<float>(6, 5, 1), logits, {.token_ids = token_ids}, state,
                         {});
        }) ==
        "moe::HashRouter::forward: the router has 3 outputs, the number of experts in its "
        "table is 4");
}

}  // namespace moe_test
