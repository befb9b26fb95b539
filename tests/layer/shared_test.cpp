// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// An expert that every token goes through, with and without a gate, around layers of any shape.
#include "moe/layer/shared.hpp"

#include "kernel/ffn_problem.hpp"
#include "moe/layer/moe_layer.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/threads.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

template <class S>
using Inner = LayerOf<S, moe::GatedFfn<S>>;
template <class S>
using Shared = moe::SharedLayer<Inner<S>, moe::Ffn<S, moe::Gelu>>;

const Case kCases[] = {
    {.t = 19, .d = 7, .h = 5, .e = 4, .k = 2, .seed = 1},
    {.t = 24, .d = 9, .h = 6, .e = 5, .k = 2, .capacity = 0.6, .masked = true, .seed = 2},
    {.t = 1, .d = 1, .h = 3, .e = 2, .k = 1, .seed = 3},
    {.t = 0, .d = 4, .h = 3, .e = 3, .k = 2, .seed = 4}};

template <class S>
Shared<S> make(const Case& c, bool gate) {
  typename Shared<S>::Config config{
      .layer = {.model_dim = c.d, .hidden_dim = c.h, .num_experts = c.e, .top_k = c.k},
      .hidden_dim = 2 * c.h + 1,
      .expert = {.bias = true},
      .gate = gate};
  config.layer.capacity.factor = c.capacity;
  return Shared<S>(config, c.seed);
}

/// A layer without router, mask or copy of x: y = 2 x.
struct TwiceLayer {
  using Scalar = double;
  struct Workspace {
    explicit Workspace(moe::ExecutorRef threads = {}) : executor(threads) {}
    moe::ExecutorRef executor;
  };
  struct Tape : Workspace {
    using Workspace::Workspace;
  };
  Index model_dim() const { return 5; }
  void forward(MatrixView<const double> x, MatrixView<double> y, Workspace&,
               const moe::Batch& = {}) const {
    y.eigen() = 2 * x.eigen();
  }
  void backward(MatrixView<const double> dy, MatrixView<double> dx, Tape&) {
    dx.eigen() = 2 * dy.eigen();
  }
  template <class F>
  void visit_parameters(F&&) {}
};

template <class Layer>
void check_gradients(Layer& layer, Matrix<double> x, const moe::Batch& batch) {
  Matrix<double> y(x.rows(), x.cols()), dx(x.rows(), x.cols());
  const Matrix<double> dy = random_matrix<double>(x.rows(), x.cols(), 77);
  typename Layer::Tape tape;
  moe::zero_grad(layer);
  layer.forward(x, y, tape, batch);
  layer.backward(dy, dx, tape);
  const auto loss = [&] {
    layer.forward(x, y, tape, batch);
    return y.cwiseProduct(dy).sum();
  };
  check_gradient("x", x, dx, loss);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    check_gradient(std::string(name), p.value, p.grad, loss);
  });
}

}  // namespace

// Ports of Qwen2-MoE put the sigmoid on the sum, or on none: it belongs on the shared output alone.
TEMPLATE_TEST_CASE("a shared expert is added to the layer, times its gate", "[layer][shared][bug]",
                   float, double) {
  using S = TestType;
  for (const Case& c : kCases) {
    for (const bool gate : {false, true}) {
      INFO(c << " gate " << gate);
      const auto layer = make<S>(c, gate);
      const Matrix<S> x = random_matrix<S>(c.t, c.d, 1);
      const std::vector<std::uint8_t> mask = random_mask(c);
      Matrix<S> inner(c.t, c.d);
      Framed<S> y(c.t, c.d, 2);
      typename Inner<S>::Workspace inner_workspace;
      layer.layer().forward(x, inner, inner_workspace, {.mask = mask});
      typename Shared<S>::Workspace workspace;
      layer.forward(x, y.view(), workspace, {.mask = mask});

      Matrix<double> expected = inner.template cast<double>();
      double kink = 1;
      for (Index t = 0; t < c.t; ++t) {
        if (!mask.empty() && mask[static_cast<std::size_t>(t)] == 0) continue;
        const naive::Row row(x.row(t).begin(), x.row(t).end());
        const auto out = naive::expert_output(to_naive_expert(layer.shared_expert()), row, kink);
        double weight = 1;
        if (gate) {
          const auto g = naive::affine(to_table(layer.shared_gate().value), {}, row);
          weight = 1 / (1 + std::exp(-g[0]));
        }
        for (Index d = 0; d < c.d; ++d) {
          expected(t, d) += weight * out[static_cast<std::size_t>(d)];
        }
      }
      CHECK(y.frame_is_whole());
      CHECK(distance(y.inner(), expected) <= tolerance<S>(c.d + 3 * c.h));
      typename Shared<S>::Tape tape;
      Matrix<S> again(c.t, c.d);
      layer.forward(x, again, tape, {.mask = mask});
      CHECK(same_bits(again, y.inner()));
    }
  }
}

TEST_CASE("a shared expert has the gradients of its differences", "[layer][shared][gradient]") {
  for (const bool gate : {false, true}) {
    const Case c{.t = 6, .d = 5, .h = 4, .e = 4, .k = 2, .masked = true, .seed = 5};
    auto layer = make<double>(c, gate);
    const std::vector<std::uint8_t> mask = random_mask(c);
    check_gradients(layer, decided_input(layer.layer(), c, 1e-3), {.mask = mask});
  }
}

TEST_CASE("any layer can have a shared expert, one with a shared expert too",
          "[layer][shared][gradient]") {
  moe::Random random(3);
  const moe::Dims dims{.model_dim = 5, .hidden_dim = 4};
  using Once = moe::SharedLayer<TwiceLayer, moe::GatedFfn<double>>;
  moe::Parameter<double> gate(1, 5);
  gate.init_uniform(random, 5);
  Once once(TwiceLayer(), moe::GatedFfn<double>(dims, {}, random), gate);
  check_gradients(once, random_matrix<double>(4, 5, 2), {});
  moe::SharedLayer<Once> twice(once, moe::GatedFfn<double>(dims, {}, random));
  check_gradients(twice, random_matrix<double>(4, 5, 2), {});
}

TEST_CASE("balance losses reach the router through a shared layer's tape", "[layer][shared]") {
  const Case c = kCases[1];
  auto layer = make<double>(c, true);
  auto inner = layer.layer();
  const Matrix<double> x = random_matrix<double>(c.t, c.d, 1),
                       zero = Matrix<double>::Zero(c.t, c.d);
  const std::vector<std::uint8_t> mask = random_mask(c);
  const auto with = train_step(layer, x, zero, {.mask = mask}, {.balance = 1, .z = 1});
  const auto without = train_step(inner, x, zero, {.mask = mask}, {.balance = 1, .z = 1});
  CHECK(with.loss == without.loss);
  CHECK(same_bits(with.gradient.at("router.weight"), without.gradient.at("router.weight")));
  CHECK_FALSE(with.gradient.at("router.weight").isZero(0));
  CHECK(with.gradient.count("shared_expert.w_in") == 1);
  CHECK(with.gradient.count("shared_gate.weight") == 1);
}

TEMPLATE_TEST_CASE("a shared expert has the same bits on any threads, instruction set and batch",
                   "[layer][shared][bitwise]", float, double) {
  using S = TestType;
  const Case c{.t = 61, .d = 40, .h = 33, .e = 5, .k = 2, .seed = 6};
  auto layer = make<S>(c, true);
  const Matrix<S> x = random_matrix<S>(c.t, c.d, 1), dy = random_matrix<S>(c.t, c.d, 2);
  const Step<S> serial = train_step(layer, x, dy);
  for (const Index size : {2, 3, 4}) {
    Threads threads(size);
    typename Shared<S>::Tape tape{moe::ExecutorRef(threads)};
    CHECK(same_bits(train_step(layer, x, dy, tape), serial));
  }
  for (const Index size : {1, 7, 30}) {
    const Step<S> part =
        train_step(layer, Matrix<S>(x.middleRows(11, size)), Matrix<S>(dy.middleRows(11, size)));
    CHECK(same_bits(part.y, serial.y.middleRows(11, size)));
    CHECK(same_bits(part.dx, serial.dx.middleRows(11, size)));
  }
  if (!std::is_same_v<S, float>) return;
  for (const moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    CHECK(same_bits(train_step(layer, x, dy), serial));
  }
}

TEST_CASE("a NaN in a token stays there in a shared expert too", "[layer][shared]") {
  const Case c = kCases[0];
  const auto layer = make<float>(c, true);
  Matrix<float> x = random_matrix<float>(c.t, c.d, 1), y(c.t, c.d), with_nan(c.t, c.d);
  Shared<float>::Workspace workspace;
  layer.forward(x, y, workspace);
  x(3, 2) = std::nanf("");
  layer.forward(x, with_nan, workspace);
  for (Index t = 0; t < c.t; ++t) {
    if (t == 3) {
      CHECK(with_nan.row(t).array().isNaN().all());
    } else {
      CHECK(same_bits(with_nan.row(t), y.row(t)));
    }
  }
}

TEST_CASE("a frozen shared gate gets no gradient, the others are unmoved by it",
          "[layer][shared]") {
  auto layer = make<double>(kCases[0], true), twin = layer;
  layer.shared_gate().trainable = false;
  const Matrix<double> x = random_matrix<double>(19, 7, 1);
  const auto step = train_step(layer, x, x), other = train_step(twin, x, x);
  CHECK(step.gradient.at("shared_gate.weight").size() == 0);
  CHECK(same_bits(step.dx, other.dx));
}

TEST_CASE("a shared layer refuses what does not fit", "[layer][shared][misuse]") {
  auto layer = make<float>(kCases[0], true);
  const Matrix<float> x = random_matrix<float>(4, 7, 1);
  Matrix<float> y = Matrix<float>::Constant(4, 7, 3), dx = y, wide(4, 8);
  Shared<float>::Tape tape;
  Shared<float>::Workspace workspace;
  CHECK(sentence_of([&] { layer.forward(wide, y, workspace); }) ==
        "moe::MoeLayer::forward: x has 8 columns, the layer's model_dim is 7");
  layer.shared_gate().value.resize(1, 6);
  CHECK(sentence_of([&] { layer.forward(x, y, workspace); }) ==
        "moe::SharedLayer::forward: the shared gate is [1, 6], expected [1, 7]");
  layer.shared_gate().value.setZero(1, 7);
  layer.shared_expert().w_out.value.resize(7, 3);
  CHECK(sentence_of([&] { layer.forward(x, y, workspace); }) ==
        "moe::SharedLayer::forward: w_out is [7, 3], expected [7, 11]");
  layer.shared_expert().w_out.value.setZero(7, 11);
  CHECK((y.array() == 3).all());

  const std::string empty =
      "moe::SharedLayer::backward: the tape is empty or another layer's, expected one training "
      "forward of this layer before each backward";
  CHECK(sentence_of([&] { layer.backward(x, dx, tape); }) == empty);
  layer.layer().forward(x, y, static_cast<Inner<float>::Tape&>(tape));  // the inner layer alone
  CHECK(sentence_of([&] { layer.backward(x, dx, tape); }) == empty);
  auto copy = layer;
  copy.forward(x, y, tape);
  CHECK(sentence_of([&] { layer.backward(x, dx, tape); }) == empty);
  layer.forward(x, y, tape);
  CHECK(sentence_of([&] { layer.backward(x, wide, tape); }) ==
        "moe::SharedLayer::backward: dx is [4, 8], expected [4, 7]");
  CHECK((dx.array() == 3).all());
  layer.backward(x, dx, tape);
  CHECK(sentence_of([&] { layer.backward(x, dx, tape); }) == empty);

  Shared<float>::Config config{
      .layer = {.model_dim = 3, .hidden_dim = 3, .num_experts = 2, .top_k = 1}};
  CHECK(sentence_of([&] { Shared<float> refused(config); }) ==
        "moe::FfnExpert: hidden_dim is 0, expected at least 1");
}

}  // namespace moe_test
