// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/router/linear.hpp"

#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace moe_test {
namespace {

template <class S>
moe::LinearRouter<S> make_router(Index d, Index e, bool bias) {
  moe::Random random(5);
  return moe::LinearRouter<S>({.model_dim = d, .num_experts = e}, {.bias = bias}, random);
}

}  // namespace

TEMPLATE_TEST_CASE("a linear router computes x W^T + b", "[router]", float, double) {
  for (const bool bias : {false, true}) {
    for (const Index t : {0, 1, 23}) {
      const auto router = make_router<TestType>(13, 65, bias);
      const Matrix<TestType> x = random_matrix<TestType>(t, 13, 1);
      Matrix<TestType> logits = Matrix<TestType>::Constant(t, 65, TestType(9));
      typename moe::LinearRouter<TestType>::State state;
      router.forward(x, logits, {}, state, {});
      naive::Table expected;
      for (const naive::Row& row : to_table(x)) {
        expected.push_back(
            naive::affine(to_table(router.weight.value), to_row(router.bias.value), row));
      }
      CHECK(distance(logits, to_matrix(expected, 65)) <= tolerance<TestType>(13));
    }
  }
}

TEST_CASE("a linear router starts within one over the root of its fan-in", "[router]") {
  const auto router = make_router<double>(16, 40, true);
  CHECK(router.weight.value.cwiseAbs().maxCoeff() <= 0.25);
  CHECK(router.weight.value.cwiseAbs().maxCoeff() > 0.24);
  CHECK(router.weight.value.mean() == Approx(0).margin(0.03));
  CHECK(router.bias.value.cwiseAbs().maxCoeff() <= 0.25);
  CHECK(make_router<double>(16, 40, false).bias.empty());
}

TEST_CASE("a linear router has the gradients of its differences", "[router][gradient]") {
  for (const bool bias : {false, true}) {
    auto router = make_router<double>(7, 5, bias);
    Matrix<double> x = random_matrix<double>(6, 7, 1);
    const Matrix<double> dlogits = random_matrix<double>(6, 5, 2);
    moe::LinearRouter<double>::State state;
    Matrix<double> logits(6, 5);
    const auto loss = [&] {
      router.forward(x, logits, {}, state, {});
      return logits.cwiseProduct(dlogits).sum();
    };
    loss();
    const Matrix<double> start = random_matrix<double>(6, 7, 3);
    Matrix<double> dx = start;
    router.backward(x, dlogits, dx, state, {});
    check_gradient("x", x, Matrix<double>(dx - start), loss);  // backward adds to dx
    check_gradient("weight", router.weight.value, router.weight.grad, loss);
    if (bias) check_gradient("bias", router.bias.value, router.bias.grad, loss);

    const Matrix<double> once = router.weight.grad;
    router.backward(x, dlogits, dx, state, {});
    CHECK(distance(router.weight.grad, Matrix<double>(2 * once)) < 1e-14);
  }
}

TEST_CASE("a frozen linear router gets no gradient but passes one on", "[router][gradient]") {
  auto router = make_router<double>(3, 4, true), twin = router;
  router.weight.trainable = router.bias.trainable = false;
  const Matrix<double> x = random_matrix<double>(2, 3, 1), dlogits = random_matrix<double>(2, 4, 2);
  moe::LinearRouter<double>::State state;
  Matrix<double> dx = Matrix<double>::Zero(2, 3), expected = dx;
  router.backward(x, dlogits, dx, state, {});
  twin.backward(x, dlogits, expected, state, {});
  CHECK(router.weight.grad.size() == 0);
  CHECK(router.bias.grad.size() == 0);
  CHECK(same_bits(dx, expected));
}

TEST_CASE("a linear router refuses sizes below one", "[router][misuse]") {
  CHECK(sentence_of([] { make_router<float>(0, 4, false); }) ==
        "moe::LinearRouter: model_dim is 0, expected at least 1");
  CHECK(sentence_of([] { make_router<float>(-3, 4, false); }) ==
        "moe::LinearRouter: model_dim is -3, expected at least 1");
  CHECK(sentence_of([] { make_router<float>(4, 0, false); }) ==
        "moe::LinearRouter: num_experts is 0, expected at least 1");
}

}  // namespace moe_test
