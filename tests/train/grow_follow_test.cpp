// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/adamw.hpp"
#include "moe/train/grow.hpp"
#include "moe/train/sgd.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

using Layer = LayerOf<double, moe::Ffn<double>>;
constexpr Case kCase{.t = 24, .d = 5, .h = 6, .e = 3, .k = 2};

/// A layer inside a model, so that its parameters have a prefix.
struct Model {
  using Scalar = double;
  Layer layer = make_layer<Layer>(kCase);
  moe::Parameter<double> gain{1, 5};

  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("gain"), gain);
    layer.visit_parameters([&](std::string_view name, auto& p) {
      f(std::string_view("blocks.0.moe." + std::string(name)), p);
    });
  }
};

template <class Optimizer>
void train(Model& model, Optimizer& optimizer, std::uint64_t first, std::uint64_t steps) {
  for (std::uint64_t n = first; n < first + steps; ++n) {
    train_step(model.layer, random_matrix<double>(kCase.t, kCase.d, 100 + n),
               random_matrix<double>(kCase.t, kCase.d, 200 + n));
    model.gain.ensure_grad();
    model.gain.grad.setConstant(0.1);
    optimizer.step(model);
  }
}

template <class Optimizer>
void check_goes_on(Optimizer optimizer) {
  Model grown, plain;
  Optimizer twin = optimizer;
  train(grown, optimizer, 0, 4);
  train(plain, twin, 0, 4);
  const std::string prefix = "blocks.0.moe.";
  const auto added = moe::add_expert(grown.layer, {.row = moe::RouterRow::closed});
  moe::follow(optimizer.state(), grown, added, prefix);
  train(grown, optimizer, 4, 4);
  train(plain, twin, 4, 4);
  for (Index e = 0; e < 3; ++e) {
    CHECK(same_bits(grown.layer.expert(e).w_in.value, plain.layer.expert(e).w_in.value));
    CHECK(same_bits(grown.layer.expert(e).b_out.value, plain.layer.expert(e).b_out.value));
  }
  CHECK(same_bits(Matrix<double>(grown.layer.router().weight.value.topRows(3)),
                  plain.layer.router().weight.value));

  const auto removed = moe::remove_expert(grown.layer, 3);
  moe::follow(optimizer.state(), grown, removed, prefix);
  train(grown, optimizer, 8, 4);
  train(plain, twin, 8, 4);
  CHECK(same_bits(parameters_of(grown), parameters_of(plain)));
  CHECK(optimizer.state().size() == twin.state().size());
}

}  // namespace

TEST_CASE("Training goes on after growing and shrinking as if nothing had happened",
          "[train][grow]") {
  check_goes_on(moe::AdamW<double>());
  check_goes_on(moe::Sgd<double>({.momentum = 0.9}));
}

TEST_CASE("State follows the experts it belongs to", "[train][grow]") {
  Model model;
  moe::AdamW<double> adamw;
  train(model, adamw, 0, 3);
  const moe::OptimizerState<double> old = adamw.state();
  const auto state_of = [](const moe::OptimizerState<double>& state, const std::string& name) {
    moe::OptimizerState<double> copy = state;
    return *copy.find("blocks.0.moe." + name);
  };

  const auto removed = moe::remove_expert(model.layer, 1);
  moe::follow(adamw.state(), model, removed, "blocks.0.moe.");
  CHECK(same_bits(state_of(adamw.state(), "experts.1.w_in").first,
                  state_of(old, "experts.2.w_in").first));
  CHECK(same_bits(state_of(adamw.state(), "experts.1.w_in").second,
                  state_of(old, "experts.2.w_in").second));
  CHECK(adamw.state().parameters[0].name == "gain");
  CHECK(same_bits(adamw.state().parameters[0].first, old.parameters[0].first));
  const Matrix<double> rows = state_of(adamw.state(), "router.weight").first;
  CHECK(rows.rows() == 2);
  CHECK(same_bits(Matrix<double>(rows.row(1)),
                  Matrix<double>(state_of(old, "router.weight").first.row(2))));
  CHECK(state_of(adamw.state(), "router.bias").first.cols() == 2);

  const auto added = moe::add_expert(model.layer, {.from = {1}});
  moe::follow(adamw.state(), model, added, "blocks.0.moe.");
  CHECK(state_of(adamw.state(), "experts.2.w_in").first.size() == 0);
  CHECK(state_of(adamw.state(), "experts.2.w_in").steps == 0);
  const auto router = state_of(adamw.state(), "router.weight");
  CHECK(router.first.row(2).isZero(0));
  CHECK(same_bits(Matrix<double>(router.second.row(2)), Matrix<double>(router.second.row(1))));
  CHECK(router.steps == 3);

  const auto fresh = moe::add_expert(model.layer);
  moe::follow(adamw.state(), model, fresh, "blocks.0.moe.");
  const auto wider = state_of(adamw.state(), "router.weight");
  CHECK(wider.second.row(3).isApprox(wider.second.topRows(3).colwise().mean(), 1e-14));
  train(model, adamw, 3, 2);
}

TEST_CASE("Merged experts have the mean of their state", "[train][grow]") {
  Model model;
  moe::AdamW<double> adamw;
  train(model, adamw, 0, 3);
  moe::OptimizerState<double> old = adamw.state();
  const auto change = moe::merge_experts(model.layer, {2, 0}, {.shares = {1, 3}});
  moe::follow(adamw.state(), model, change, "blocks.0.moe.");
  const Matrix<double> mean = 0.75 * old.find("blocks.0.moe.experts.0.w_out")->second +
                              0.25 * old.find("blocks.0.moe.experts.2.w_out")->second;
  CHECK(distance(adamw.state().find("blocks.0.moe.experts.0.w_out")->second, mean) < 1e-15);
  CHECK(adamw.state().find("blocks.0.moe.experts.0.w_out")->steps == 3);
  train(model, adamw, 3, 2);
}

TEST_CASE("Experts merged with a share of 0 leave nothing in the state", "[train][grow]") {
  Model model;
  moe::add_expert(model.layer);
  moe::AdamW<double> adamw;
  train(model, adamw, 0, 3);
  moe::OptimizerState<double> old = adamw.state();
  const auto change = moe::merge_experts(model.layer, {0, 1, 2}, {.shares = {0, 0, 5}});
  moe::OptimizerState<double> without = old;
  for (auto& one : without.parameters) {
    if (one.name.find("experts.2.") != std::string::npos) one.first.resize(0, 0);
  }
  const std::string name = "blocks.0.moe.experts.0.w_out";
  moe::follow(adamw.state(), model, change, "blocks.0.moe.");
  CHECK(
      same_bits(adamw.state().find(name)->first, old.find("blocks.0.moe.experts.2.w_out")->first));
  moe::follow(without, model, change, "blocks.0.moe.");  // no other is left: the first
  CHECK(same_bits(without.find(name)->second, old.find(name)->second));
}

TEST_CASE("An optimizer that was not told of a change refuses the layer", "[train][misuse]") {
  Model model;
  moe::AdamW<double> adamw;
  train(model, adamw, 0, 2);
  const auto change = moe::add_expert(model.layer);
  CHECK_THROWS_AS(train(model, adamw, 2, 1), std::invalid_argument);
  const auto before = adamw.state();
  CHECK(sentence_of([&] { moe::follow(adamw.state(), model, change, "elsewhere."); }) ==
        "moe::follow: the state of blocks.0.moe.router.weight would be [3, 5], the parameter is "
        "[4, 5]; expected the change that led to this module, and each change once");
  CHECK(adamw.state().parameters.size() == before.parameters.size());
  moe::follow(adamw.state(), model, change, "blocks.0.moe.");
  CHECK(sentence_of([&] { moe::follow(adamw.state(), model, change, "blocks.0.moe."); }) ==
        "moe::follow: blocks.0.moe.router.weight has 4 experts in the optimizer's state, their "
        "number before the change is 3");
  train(model, adamw, 2, 1);
}

TEST_CASE("A tape of the layer before it grew is refused", "[train][misuse]") {
  Layer layer = make_layer<Layer>(kCase);
  Layer::Tape tape;
  const Matrix<double> x = random_matrix<double>(4, 5, 1);
  Matrix<double> y(4, 5), dx(4, 5);
  layer.forward(x, y, tape);
  moe::add_expert(layer);
  CHECK_THAT(sentence_of([&] { layer.backward(x, dx, tape); }),
             StartsWith("moe::MoeLayer::backward: the tape was filled by layer #"));
}

}  // namespace moe_test
