// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/freeze.hpp"

#include <set>

#include "moe/train/adamw.hpp"
#include "moe/train/sgd.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

using Layer = LayerOf<double, moe::GatedFfn<double>>;
constexpr Case kCase{.t = 12, .d = 5, .h = 6, .e = 3, .k = 2};

std::set<std::string> trained_names(Layer& layer) {
  std::set<std::string> names;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    if (p.grad.size() != 0) names.emplace(name);
  });
  return names;
}

}  // namespace

TEST_CASE("A part names parameters by whole segments", "[train]") {
  CHECK(moe::names_parameter("", "router.weight"));
  CHECK(moe::names_parameter("router", "router.weight"));
  CHECK(moe::names_parameter("router.weight", "router.weight"));
  CHECK(moe::names_parameter("experts.1", "experts.1.w_in"));
  CHECK(moe::names_parameter("experts.*.w_in", "experts.10.w_in"));
  CHECK(moe::names_parameter("*.*.w_in", "experts.10.w_in"));
  CHECK_FALSE(moe::names_parameter("experts.1", "experts.10.w_in"));
  CHECK_FALSE(moe::names_parameter("rout", "router.weight"));
  CHECK_FALSE(moe::names_parameter("router.weight.x", "router.weight"));
  CHECK_FALSE(moe::names_parameter("experts.*.w_out", "experts.10.w_in"));
}

TEST_CASE("Frozen parts get no gradient, and the others the same bits as before", "[train]") {
  Layer whole = make_layer<Layer>(kCase);
  const Matrix<double> x = random_matrix<double>(kCase.t, kCase.d, 3),
                       dy = random_matrix<double>(kCase.t, kCase.d, 4);
  const Step<double> all = train_step(whole, x, dy);
  for (const std::string part : {"router", "experts", "experts.1", "experts.*.w_in", ""}) {
    INFO("part " << part);
    Layer layer = make_layer<Layer>(kCase);
    train_step(layer, x, dy);  // so that there are gradients to give back
    const Index frozen = moe::freeze(layer, part);
    CHECK(frozen + moe::trainable_count(layer) == moe::parameter_count(layer));
    const Step<double> step = train_step(layer, x, dy);
    CHECK(same_bits(step.y, all.y));
    CHECK(same_bits(step.dx, all.dx));
    for (const auto& [name, gradient] : step.gradient) {
      const bool is_frozen = moe::names_parameter(part, name);
      INFO(name);
      CHECK((gradient.size() == 0) == is_frozen);
      if (!is_frozen) CHECK(same_bits(gradient, all.gradient.at(name)));
    }
    CHECK(moe::unfreeze(layer, part) == frozen);
    CHECK(same_bits(train_step(layer, x, dy), all));
  }
}

TEST_CASE("train_only freezes the rest", "[train]") {
  Layer layer = make_layer<Layer>(kCase);
  const Index values = moe::train_only(layer, {"router", "experts.2.w_out"});
  CHECK(values == moe::trainable_count(layer));
  train_step(layer, random_matrix<double>(12, 5, 3), random_matrix<double>(12, 5, 4));
  CHECK(trained_names(layer) ==
        std::set<std::string>{"router.weight", "router.bias", "experts.2.w_out"});
}

TEST_CASE("train_only keeps the gradients of what goes on, and counts it once", "[train]") {
  Layer layer = make_layer<Layer>(kCase);
  const auto all =
      train_step(layer, random_matrix<double>(12, 5, 3), random_matrix<double>(12, 5, 4)).gradient;
  const Index values = moe::train_only(layer, {"experts.1", "experts.*.w_in", "experts.1.w_in"});
  CHECK(values == moe::trainable_count(layer));
  layer.visit_parameters([&](std::string_view name, auto& p) {
    INFO(name);
    if (p.trainable) {
      CHECK(same_bits(p.grad, all.at(std::string(name))));
    } else {
      CHECK(p.grad.size() == 0);
    }
  });
}

TEST_CASE("A part that is nowhere is refused and nothing is frozen", "[train][misuse]") {
  Layer layer = make_layer<Layer>(kCase);
  CHECK(sentence_of([&] { moe::freeze(layer, "expert"); }) ==
        "moe::set_trainable: no parameter is named \"expert\", expected the beginning of a name up "
        "to a dot, such as \"router\" or \"experts.0\"");
  CHECK(sentence_of([&] {
          moe::train_only(layer, {"router", "experts.3"});
        }) == "moe::train_only: no parameter is named \"experts.3\"");
  CHECK(moe::trainable_count(layer) == moe::parameter_count(layer));
}

TEST_CASE("Optimizers keep state for what trains alone", "[train]") {
  Layer layer = make_layer<Layer>(kCase);
  const Matrix<double> x = random_matrix<double>(12, 5, 3), dy = random_matrix<double>(12, 5, 4);
  moe::AdamW<double> adamw;
  moe::Sgd<double> sgd({.momentum = 0.5});
  moe::freeze(layer, "experts");
  train_step(layer, x, dy);
  const auto before = parameters_of(layer);
  adamw.step(layer);
  sgd.step(layer);
  const Index router = layer.router().weight.value.size() + layer.router().bias.value.size();
  CHECK(adamw.state().size() == 2 * router);
  CHECK(sgd.state().size() == router);
  for (const auto& [name, value] : parameters_of(layer)) {
    if (moe::names_parameter("experts", name)) CHECK(same_bits(value, before.at(name)));
  }

  moe::unfreeze(layer);
  train_step(layer, x, dy);
  adamw.step(layer);
  CHECK(adamw.state().size() == 2 * moe::parameter_count(layer));
  moe::freeze(layer, "router");
  adamw.state().forget_frozen(layer);
  CHECK(adamw.state().size() == 2 * (moe::parameter_count(layer) - router));
  CHECK(adamw.state().find("router.weight")->steps == 0);
  train_step(layer, x, dy);
  adamw.step(layer);  // goes on
  CHECK(adamw.state().find("experts.0.w_in")->steps == 2);
}

TEST_CASE("Frozen rows hold their bits through momentum and decay", "[train]") {
  Layer layer = make_layer<Layer>(kCase);
  const Matrix<double> x = random_matrix<double>(12, 5, 3), dy = random_matrix<double>(12, 5, 4);
  const Matrix<double> before = layer.router().weight.value;
  const moe::FrozenRows<double> old_rows(layer.router().weight, {0, 2});
  moe::AdamW<double> adamw({.weight_decay = 0.3});
  for (int n = 0; n < 3; ++n) {
    train_step(layer, x, dy);
    adamw.step(layer);
    old_rows.restore();
  }
  const Matrix<double>& after = layer.router().weight.value;
  CHECK(same_bits(Matrix<double>(after.row(0)), Matrix<double>(before.row(0))));
  CHECK(same_bits(Matrix<double>(after.row(2)), Matrix<double>(before.row(2))));
  CHECK_FALSE(same_bits(Matrix<double>(after.row(1)), Matrix<double>(before.row(1))));

  CHECK(sentence_of([&] { moe::FrozenRows<double>(layer.router().weight, {3}); }) ==
        "moe::FrozenRows: row 3 is named, expected 0 to 2");
  layer.router().weight.value.conservativeResize(2, 5);
  CHECK(sentence_of([&] { old_rows.restore(); }) ==
        "moe::FrozenRows::restore: the parameter is [2, 5], expected 5 columns and row 2");
}

}  // namespace moe_test
