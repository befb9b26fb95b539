// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/block/norm.hpp"

#include "block/naive_block.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/threads.hpp"

namespace moe_test {
namespace {

template <class N>
N random_norm(Index width, const typename N::Options& options = {}) {
  using S = typename N::Scalar;
  N norm(width, options);
  std::uint64_t seed = 40;
  norm.visit_parameters(
      [&](std::string_view, auto& p) { p.value = random_matrix<S>(1, width, ++seed); });
  return norm;
}

template <class N>
void check_formula(bool centred) {
  using S = typename N::Scalar;
  for (const Index width : {1, 7, 8, 65}) {
    const N norm = random_norm<N>(width, {.epsilon = 1e-3});
    const Matrix<S> x = random_matrix<S>(9, width, 3);
    Framed<S> y(9, width, 2);
    typename N::State state;
    norm.forward(x, y.view(), state);
    Matrix<double> expected(9, width);
    for (Index t = 0; t < 9; ++t) {
      const naive::Row row = naive::norm(to_table(Matrix<S>(x.row(t)))[0], to_row(norm.gain.value),
                                         to_row(norm.bias.value), centred, 1e-3);
      for (Index i = 0; i < width; ++i) expected(t, i) = row[static_cast<std::size_t>(i)];
    }
    INFO("width " << width);
    CHECK(distance(Matrix<S>(y.inner()), expected) <= 4 * tolerance<S>(width));
    CHECK(y.frame_is_whole());
  }
}

template <class N>
void check_norm_gradients(const typename N::Options& options) {
  for (const Index width : {1, 5, 19}) {
    N norm = random_norm<N>(width, options);
    Matrix<double> x = random_matrix<double>(6, width, 3);
    const Matrix<double> dy = random_matrix<double>(6, width, 4);
    Matrix<double> y(6, width), dx = Matrix<double>::Constant(6, width, 0.5);
    typename N::State state;
    norm.forward(x, y, state);
    norm.backward(x, dy, dx, state);
    dx.array() -= 0.5;  // it adds
    const auto loss = [&] {
      norm.forward(x, y, state);
      return y.cwiseProduct(dy).sum();
    };
    check_gradient("x", x, dx, loss);
    norm.visit_parameters([&](std::string_view name, auto& p) {
      check_gradient(std::string(name), p.value, p.grad, loss);
    });
  }
}

template <class N>
void check_norm_threads() {
  using S = typename N::Scalar;
  const Matrix<S> x = random_matrix<S>(700, 130, 3), dy = random_matrix<S>(700, 130, 4);
  const auto run = [&](moe::ExecutorRef executor) {
    N norm = random_norm<N>(130);
    std::vector<Matrix<S>> out(2, Matrix<S>::Zero(700, 130));
    typename N::State state;
    norm.forward(x, out[0], state, executor);
    norm.backward(x, dy, out[1], state, executor);
    norm.visit_parameters([&](std::string_view, auto& p) { out.push_back(p.grad); });
    return out;
  };
  const auto serial = run({});
  for (const Index size : {2, 3, 4}) {
    Threads threads(size);
    const auto parallel = run(threads);
    for (std::size_t i = 0; i < serial.size(); ++i) CHECK(same_bits(parallel[i], serial[i]));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("norms are their formulas", "[block]", float, double) {
  check_formula<moe::RmsNorm<TestType>>(false);
  check_formula<moe::LayerNorm<TestType>>(true);
}

TEST_CASE("gradients of the norms agree with differences", "[block][gradient]") {
  check_norm_gradients<moe::RmsNorm<double>>({});
  check_norm_gradients<moe::RmsNorm<double>>({.epsilon = 0.3, .bias = true});
  check_norm_gradients<moe::LayerNorm<double>>({});
  check_norm_gradients<moe::LayerNorm<double>>({.epsilon = 0.3, .bias = false});
}

TEMPLATE_TEST_CASE("norms give the same bits on any number of threads", "[block][bitwise]", float,
                   double) {
  check_norm_threads<moe::RmsNorm<TestType>>();
  check_norm_threads<moe::LayerNorm<TestType>>();
}

TEST_CASE("a frozen gain gathers no gradient, a NaN stays in its row", "[block]") {
  auto norm = random_norm<moe::LayerNorm<double>>(4);
  norm.gain.trainable = false;
  Matrix<double> x = random_matrix<double>(3, 4, 1), y(3, 4), dx = Matrix<double>::Zero(3, 4);
  moe::LayerNorm<double>::State state;
  norm.forward(x, y, state);
  const Matrix<double> clean = y;
  x(1, 2) = std::numeric_limits<double>::quiet_NaN();
  norm.forward(x, y, state);
  CHECK(y.row(1).array().isNaN().all());
  CHECK(same_bits(y.row(0), clean.row(0)));
  CHECK(same_bits(y.row(2), clean.row(2)));
  norm.backward(x, y, dx, state);
  CHECK(norm.gain.grad.size() == 0);
  CHECK(norm.bias.grad.size() == 4);
  CHECK(dx.row(0).array().isFinite().all());
}

TEST_CASE("norms say what is wrong", "[block]") {
  using Norm = moe::RmsNorm<float>;
  CHECK(sentence_of([] { Norm(0); }) == "moe::RowNorm: width is 0, expected at least 1");
  CHECK(sentence_of([] { Norm(3, {.epsilon = -1}); }) ==
        "moe::RowNorm: epsilon is -1.000000, expected a finite value of at least 0");
  Norm norm(3);
  Norm::State state;
  Matrix<float> x(2, 3), y(2, 3), wide(2, 4), long_one(3, 3);
  x.setOnes();
  CHECK(sentence_of([&] { norm.forward(wide, y, state); }) ==
        "moe::RowNorm::forward: x has 4 columns, the norm's width is 3");
  CHECK(sentence_of([&] { norm.forward(x, long_one, state); }) ==
        "moe::RowNorm::forward: y is [3, 3], expected [2, 3]");
  norm.forward(x, y, state);
  CHECK(sentence_of([&] { norm.backward(long_one, long_one, long_one, state); }) ==
        "moe::RowNorm::backward: x has 3 rows, the last forward's number of rows is 2");
  norm.bias = moe::Parameter<float>(1, 2);
  CHECK(sentence_of([&] { norm.forward(x, y, state); }) ==
        "moe::RowNorm::forward: the norm's bias is [1, 2], expected [1, 3]");
}

}  // namespace moe_test
