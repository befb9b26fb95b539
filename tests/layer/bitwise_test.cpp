// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The same bits, whatever stands beside a token and however many threads there are.
#include "moe/moe.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

template <class S>
using Layer = LayerOf<S, moe::GatedFfn<S>>;

/// Several blocks of rows and columns in every direction; and a crowd of small experts.
const Case kLarge{.t = 190, .d = 70, .h = 150, .e = 5, .k = 2};
const Case kMany{.t = 90, .d = 33, .h = 20, .e = 65, .k = 6, .seed = 2};
const Case kFlooded{.t = 150, .d = 40, .h = 50, .e = 6, .k = 1, .flooded = true, .seed = 3};
const Case kDropping{.t = 120,
                     .d = 31,
                     .h = 47,
                     .e = 7,
                     .k = 3,
                     .renormalize = false,
                     .capacity = 0.7,
                     .masked = true,
                     .seed = 4};

template <class S>
Matrix<S> run(const Layer<S>& layer, const Matrix<S>& x) {
  Matrix<S> y(x.rows(), x.cols());
  typename Layer<S>::Workspace workspace;
  layer.forward(x, y, workspace);
  return y;
}

template <class S>
Step<S> run_step(const Case& c, moe::ExecutorRef executor) {
  Layer<S> layer = make_layer<Layer<S>>(c);
  const std::vector<std::uint8_t> mask = random_mask(c);
  typename Layer<S>::Tape tape(executor);
  const Matrix<S> x = random_matrix<S>(c.t, c.d, 1), dy = random_matrix<S>(c.t, c.d, 2);
  return train_step(layer, x, dy, tape, {.mask = mask}, {.balance = 1, .z = 1});
}

}  // namespace

TEMPLATE_TEST_CASE("a token gives the same bits alone and in any batch", "[layer][bitwise]", float,
                   double) {
  using S = TestType;
  for (const Case& c : {kLarge, kMany, kFlooded}) {
    INFO(c);
    const Layer<S> layer = make_layer<Layer<S>>(c);
    const Matrix<S> x = random_matrix<S>(c.t, c.d, 1);
    const Matrix<S> y = run(layer, x);
    Index different = 0;
    for (Index t = 0; t < c.t; t += 7) {
      different += !same_bits(run(layer, Matrix<S>(x.row(t))), y.row(t));
    }
    CHECK(different == 0);
    for (const Index size :
         {Index{2}, Index{3}, Index{5}, Index{8}, Index{16}, Index{33}, c.t - 1}) {
      for (const Index first : {Index{0}, (c.t - size) / 2, c.t - size}) {
        const Matrix<S> part = run(layer, Matrix<S>(x.middleRows(first, size)));
        CHECK(same_bits(part, y.middleRows(first, size)));
      }
    }
  }
}

TEMPLATE_TEST_CASE("a token gives the same bits at any place of the batch", "[layer][bitwise]",
                   float, double) {
  using S = TestType;
  for (const Case& c : {kLarge, kMany}) {
    INFO(c);
    const Layer<S> layer = make_layer<Layer<S>>(c);
    const Matrix<S> x = random_matrix<S>(c.t, c.d, 1);
    CHECK(same_bits(run(layer, Matrix<S>(x.colwise().reverse())),
                    Matrix<S>(run(layer, x).colwise().reverse())));
    Matrix<S> repeated(c.t, c.d);
    repeated.rowwise() = x.row(3);  // all tokens at the same two experts
    const Matrix<S> y = run(layer, repeated), alone = run(layer, Matrix<S>(x.row(3)));
    Index different = 0;
    for (Index t = 0; t < c.t; ++t) different += !same_bits(y.row(t), alone);
    CHECK(different == 0);
  }
}

TEMPLATE_TEST_CASE("a token's input gradient has the same bits alone and in any batch",
                   "[layer][bitwise]", float, double) {
  using S = TestType;
  for (const Case& c : {kLarge, kMany}) {
    INFO(c);
    Layer<S> layer = make_layer<Layer<S>>(c);
    const Matrix<S> x = random_matrix<S>(c.t, c.d, 1), dy = random_matrix<S>(c.t, c.d, 2);
    const Step<S> all = train_step(layer, x, dy);
    for (const Index size : {1, 2, 9, 40}) {
      const Index first = (c.t - size) / 2;
      const Step<S> part = train_step(layer, Matrix<S>(x.middleRows(first, size)),
                                      Matrix<S>(dy.middleRows(first, size)));
      CHECK(same_bits(part.y, all.y.middleRows(first, size)));
      CHECK(same_bits(part.dx, all.dx.middleRows(first, size)));
    }
  }
}

TEMPLATE_TEST_CASE("any number of threads gives the same bits in forward", "[layer][bitwise]",
                   float, double) {
  using S = TestType;
  for (Case c : {kLarge, kMany, kFlooded, kDropping}) {
    for (const Index tokens : {Index{0}, Index{1}, Index{2}, Index{13}, c.t}) {
      c.t = tokens;
      INFO(c);
      const Layer<S> layer = make_layer<Layer<S>>(c);
      const Matrix<S> x = random_matrix<S>(c.t, c.d, 1), expected = run(layer, x);
      for (const Index size : {1, 2, 3, 7}) {
        Threads threads(size);
        typename Layer<S>::Workspace workspace{moe::ExecutorRef(threads)};
        for (int repeat = 0; repeat < 3; ++repeat) {
          Matrix<S> y = Matrix<S>::Constant(c.t, c.d, S(9));
          layer.forward(x, y, workspace);
          CHECK(same_bits(y, expected));
        }
      }
    }
  }
}

TEMPLATE_TEST_CASE("any number of threads gives the same bits in training", "[layer][bitwise]",
                   float, double) {
  using S = TestType;
  for (Case c : {kLarge, kMany, kFlooded, kDropping}) {
    for (const Index tokens : {Index{0}, Index{1}, Index{13}, c.t}) {
      c.t = tokens;
      INFO(c);
      const Step<S> serial = run_step<S>(c, {});
      for (const Index size : {1, 2, 3, 7}) {
        INFO(size << " threads");
        Threads threads(size);
        const Step<S> step = run_step<S>(c, threads);
        CHECK(step.loss == serial.loss);
        CHECK(same_bits(step.y, serial.y));
        CHECK(same_bits(step.dx, serial.dx));
        for (const auto& [name, gradient] : step.gradient) {
          INFO(name);
          CHECK(same_bits(gradient, serial.gradient.at(name)));
        }
      }
    }
  }
}

TEST_CASE("one layer serves several threads at once, each with its own workspace",
          "[layer][bitwise]") {
  const Layer<float> layer = make_layer<Layer<float>>(kLarge);
  const Matrix<float> x = random_matrix<float>(kLarge.t, kLarge.d, 1), expected = run(layer, x);
  Threads threads(3);
  std::vector<Matrix<float>> y(3);
  threads.run([&](Index i) {
    for (int repeat = 0; repeat < 3; ++repeat) y[static_cast<std::size_t>(i)] = run(layer, x);
  });
  for (const auto& result : y) CHECK(same_bits(result, expected));
}

}  // namespace moe_test
