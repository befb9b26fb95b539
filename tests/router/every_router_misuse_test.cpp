// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A router called outside a layer says what does not fit, before it writes.
#include "router/every_router.hpp"

namespace moe_test {

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

}  // namespace moe_test
