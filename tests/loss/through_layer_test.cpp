// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gradients of every loss through the gate, and through a whole layer.
#include "loss/all_losses.hpp"
#include "moe/gate/expert_choice.hpp"
#include "moe/gate/relu.hpp"
#include "moe/router/learned_noise.hpp"

namespace moe_test {
namespace {

/// Gradients of x and of the router's parameters against differences of <y, dy> + loss.
template <class Layer, class L>
void check_layer(Layer& layer, Matrix<double>& x, const moe::Batch& batch, const L& loss) {
  const Matrix<double> dy = random_matrix<double>(x.rows(), x.cols(), 3);
  typename Layer::Tape tape;
  Matrix<double> y(x.rows(), x.cols()), dx(x.rows(), x.cols());
  const auto value = [&] {
    layer.forward(x, y, tape, batch);
    double sum = tape.add_loss(loss);
    for (Index t = 0; t < x.rows(); ++t) sum += batch.is_padding(t) ? 0 : dy.row(t).dot(y.row(t));
    return sum;
  };
  value();
  moe::zero_grad(layer);
  layer.backward(dy, dx, tape);
  check_gradient("x", x, dx, value);
  layer.router().visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<double> gradient = p.grad;
    check_gradient(std::string(name), p.value, gradient, value);
  });
}

const std::vector<std::uint8_t> kMask{1, 1, 0, 1, 1, 1, 1};
constexpr Index kTokens = 7, kDim = 4, kExperts = 5;

}  // namespace

TEST_CASE("every loss has the gradient of its differences through the gate", "[loss][gradient]") {
  for (const bool renormalize : {true, false}) {
    for (const Index k : {1, 2, 5}) {
      Matrix<double> logits = random_matrix<double>(6, 5, 12);
      const std::vector<std::uint8_t> mask{1, 1, 0, 1, 1, 1};
      const moe::TopKGate gate({.num_experts = 5, .top_k = k}, {.renormalize = renormalize});
      moe::TopKGate::State state;
      for_all_losses(6, 5, [&](const char* name, const auto& loss) {
        INFO(name << ", K " << k << ", renormalised " << renormalize);
        LossCase<double> c(logits, k, mask);
        const auto value = [&] {
          c.logits = logits;
          gate.forward(MatrixView<const double>(logits), c.routing, c.batch, state);
          c.routing.clear_padding(c.batch);
          return c.value_of(loss);
        };
        value();
        Matrix<double> gradient = c.dlogits;
        gate.backward(std::as_const(c.routing), MatrixView<const double>(c.dweight),
                      MatrixView<const double>(c.dscores), MatrixView<double>(gradient), state);
        check_gradient("logits", logits, gradient, value);
      });
    }
  }
}

TEST_CASE("every loss has the gradient of its differences through a layer", "[loss][gradient]") {
  using Layer = LayerOf<double, moe::GatedFfn<double>>;
  const Case c{.t = kTokens, .d = kDim, .e = kExperts};
  auto layer = make_layer<Layer>(c);
  Matrix<double> x = decided_input(layer, c, 1e-3);
  for_all_losses(c.t, c.e, [&](const char* name, const auto& loss) {
    INFO(name);
    check_layer(layer, x, {.mask = kMask}, loss);
  });
}

TEST_CASE("the load loss reaches both maps of a noisy router", "[loss][gradient]") {
  using Router = moe::LearnedNoise<moe::LinearRouter<double>>;
  using Layer = moe::MoeLayer<double, Router, moe::TopKGate, moe::Ffn<double>>;
  for (const Index k : {1, 2, 5}) {
    Layer layer(
        {.model_dim = kDim, .hidden_dim = 3, .num_experts = kExperts, .top_k = k, .gate = {}}, 5);
    layer.router().noise_weight.value = random_matrix<double>(kExperts, kDim, 8);
    Matrix<double> x = random_matrix<double>(kTokens, kDim, 9);
    const moe::Batch batch{.mask = kMask, .seed = 11};
    check_layer(layer, x, batch, moe::LoadLoss{5});
    check_layer(layer, x, batch, moe::LoadLoss{5, moe::LoadLoss::Estimate::kth_of_all});
    typename Layer::Tape tape;
    Matrix<double> y(kTokens, kDim);
    layer.forward(x, y, tape, batch);
    const double before = tape.router_state.noise.dstddev.eigen().norm();
    tape.add_loss(moe::LoadLoss{5});
    CHECK(before == 0);
    CHECK((tape.router_state.noise.dstddev.eigen().norm() > 0) == (k < kExperts));
  }
}

TEST_CASE("ReMoE's loss reaches the router through a ReLU gate", "[loss][gradient]") {
  using Layer = moe::MoeLayer<double, moe::LinearRouter<double>, moe::ReluGate, moe::Ffn<double>>;
  Layer layer({.model_dim = kDim, .hidden_dim = 3, .num_experts = kExperts, .top_k = 2}, 5);
  Matrix<double> x = random_matrix<double>(kTokens, kDim, 9);
  check_layer(layer, x, {.mask = kMask}, moe::ReluL1Loss{0.7, 2});
  check_layer(layer, x, {.mask = kMask}, moe::ReluL1Loss{0.7, 2, moe::ReluL1Loss::Form::plain});
  check_layer(layer, x, {.mask = kMask},
              moe::SwitchLoss{0.7, {.scores = moe::ScoresAs::normalized}});
}

TEST_CASE("the expert-selection loss reaches the router through expert choice",
          "[loss][gradient]") {
  using Gate = moe::ExpertChoiceGate;
  using Layer = moe::MoeLayer<double, moe::LinearRouter<double>, Gate, moe::Ffn<double>>;
  Layer layer({.model_dim = kDim, .hidden_dim = 3, .num_experts = kExperts, .top_k = 2}, 5);
  Matrix<double> x = random_matrix<double>(kTokens, kDim, 9);
  check_layer(layer, x, {.mask = kMask}, moe::ExpertSelectionLoss{0.7});
}

// DeepSeek-V3: sigmoid scores, a selection bias that the loss does not see, per sequence.
TEST_CASE("the sequence loss reaches the router through a biased sigmoid gate",
          "[loss][gradient]") {
  using Layer = moe::MoeLayer<double, moe::LinearRouter<double>, moe::TopKGate, moe::Ffn<double>>;
  Layer layer({.model_dim = kDim,
               .hidden_dim = 3,
               .num_experts = kExperts,
               .top_k = 2,
               .gate = {.score = moe::ScoreFunction::sigmoid,
                        .selection_bias = {0.3F, -0.2F, 0, 0.1F, 0.5F}}},
              5);
  Matrix<double> x = random_matrix<double>(kTokens, kDim, 9);
  const std::vector<Index> lengths{3, 4};
  check_layer(layer, x, {.mask = kMask},
              moe::SequenceBalanceLoss{
                  .coefficient = 0.7,
                  .lengths = lengths,
                  .form = {.chosen = moe::ChosenBy::scores, .scores = moe::ScoresAs::normalized}});
}

// NeMo Automodel#1408: the auxiliary gradient never reached the gate.
TEST_CASE("a loss alone moves the router's weights", "[loss]") {
  using Layer = LayerOf<double, moe::GatedFfn<double>>;
  const Case c{.t = kTokens, .d = kDim, .e = kExperts};
  auto layer = make_layer<Layer>(c);
  const Matrix<double> x = random_matrix<double>(c.t, c.d, 4);
  const Matrix<double> none = Matrix<double>::Zero(c.t, c.d);
  for_all_losses(c.t, c.e, [&](const std::string& name, const auto& loss) {
    if (name.rfind("load", 0) == 0) return;  // counts, without noise
    if (name == "ReLU L1") return;           // constant on a softmax, which is positive everywhere
    INFO(name);
    Layer::Tape tape;
    Matrix<double> y(c.t, c.d), dx(c.t, c.d);
    layer.forward(x, y, tape);
    tape.add_loss(loss);
    moe::zero_grad(layer);
    layer.backward(none, dx, tape);
    CHECK(layer.router().weight.grad.norm() > 1e-4);
    CHECK(layer.expert(0).w_in.grad.isZero(0));
  });
}

}  // namespace moe_test
