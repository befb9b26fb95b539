// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The weights that slots carry after drops and reroutes, alone and through a whole layer.
#include "moe/plan/slot_weight.hpp"

#include "moe/expert/ffn.hpp"
#include "moe/gate/select.hpp"
#include "moe/layer/moe_layer.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/plans.hpp"

namespace moe_test {
namespace {

using moe::CapacityOptions;
using moe::DropOrder;
using moe::Outcome;
using moe::Overflow;
using Weights = std::vector<double>;

Weights weights_of(const moe::Routing<double>& routing, const moe::Plan& plan) {
  Weights weight(static_cast<std::size_t>(plan.count()));
  gather_slot_weights<double>(routing, plan, weight);
  return weight;
}

/// Random positive scores and weights, the choices given.
RoutingOf random_routing(Index experts, const std::vector<std::vector<std::int32_t>>& choices) {
  RoutingOf made(experts, choices);
  moe::Random random(4);
  for (Index i = 0; i < made.routing.weight.size(); ++i) {
    made.routing.weight.data()[i] = random.uniform(0.1, 1);
  }
  for (Index i = 0; i < made.routing.scores.size(); ++i) {
    made.routing.scores.data()[i] = random.uniform(0.1, 1);
  }
  return made;
}

const std::vector<std::vector<std::int32_t>> kCrowded{{0, 1}, {0, 2}, {1, 0}, {0, 1}, {0, 1}};

}  // namespace

TEST_CASE("a rerouted assignment weighs what the gate would have given its new expert",
          "[plan][weight]") {
  const RoutingOf made = random_routing(4, kCrowded);
  moe::Plan plan;
  make_plan(made.routing, {.factor = 0.8, .overflow = Overflow::next_best}, {}, plan);
  CHECK(plan.count_of(Outcome::rerouted) > 0);
  const Weights weight = weights_of(made.routing, plan);
  for (Index t = 0; t < 5; ++t) {
    for (Index j = 0; j < 2; ++j) {
      const std::int32_t s = plan.slot[static_cast<std::size_t>(2 * t + j)];
      if (s < 0) continue;
      const double from = made.routing.scores(t, made.routing.expert(t, j));
      const double to = made.routing.scores(t, plan.expert_of(2 * t + j));
      CHECK(weight[static_cast<std::size_t>(s)] == Approx(made.routing.weight(t, j) * to / from));
    }
  }
}

TEST_CASE("a switch token rerouted carries its new expert's probability, as in mesh",
          "[plan][weight]") {
  RoutingOf made = random_routing(3, {{0}, {0}, {0}});
  for (Index t = 0; t < 3; ++t) made.routing.weight(t, 0) = made.routing.scores(t, 0);
  moe::Plan plan;
  make_plan(made.routing, {.factor = 1, .overflow = Overflow::next_best}, {}, plan);
  const Weights weight = weights_of(made.routing, plan);
  for (Index t = 0; t < 3; ++t) {
    CHECK(weight[static_cast<std::size_t>(plan.slot[static_cast<std::size_t>(t)])] ==
          Approx(made.routing.scores(t, plan.expert_of(t))));
  }
}

TEST_CASE("a fallback carries the weight it had", "[plan][weight]") {
  const RoutingOf made = random_routing(4, kCrowded);
  moe::Plan plan;
  make_plan(made.routing, {.factor = 0.8, .overflow = Overflow::fallback, .fallback_expert = 3}, {},
            plan);
  CHECK(plan.count_of(Outcome::fallback) > 0);
  const Weights weight = weights_of(made.routing, plan);
  for (std::size_t s = 0; s < weight.size(); ++s) {
    CHECK(weight[s] == made.routing.weight.data()[plan.origin[s]]);
  }
}

TEST_CASE("renormalising after dropping makes the kept weights sum to one", "[plan][weight]") {
  const RoutingOf made = random_routing(4, kCrowded);
  moe::Plan plan;
  make_plan(made.routing, {.factor = 0.8, .renormalize_kept = true}, {}, plan);
  const Weights weight = weights_of(made.routing, plan);
  for (Index t = 0; t < 5; ++t) {
    double kept = 0, sum = 0;
    for (Index j = 0; j < 2; ++j) {
      const std::int32_t s = plan.slot[static_cast<std::size_t>(2 * t + j)];
      if (s >= 0) kept += made.routing.weight(t, j);
    }
    for (Index j = 0; j < 2; ++j) {
      const std::int32_t s = plan.slot[static_cast<std::size_t>(2 * t + j)];
      if (s < 0) continue;
      CHECK(weight[static_cast<std::size_t>(s)] == Approx(made.routing.weight(t, j) / kept));
      sum += weight[static_cast<std::size_t>(s)];
    }
    if (kept > 0) CHECK(sum == Approx(1));
  }
}

TEST_CASE("renormalising leaves K = 1 alone and holds tiny sums by its floor", "[plan][weight]") {
  const RoutingOf single = random_routing(2, {{0}, {1}});
  moe::Plan plan;
  make_plan(single.routing, {.renormalize_kept = true}, {}, plan);
  CHECK(weights_of(single.routing, plan)[0] == single.routing.weight(0, 0));

  RoutingOf made = random_routing(4, {{0, 1}, {2, 3}});
  for (Index j = 0; j < 2; ++j) {
    made.routing.weight(0, j) = 1e-9;
    made.routing.weight(1, j) = 0;
  }
  make_plan(made.routing, {.renormalize_kept = true}, {}, plan);
  const Weights weight = weights_of(made.routing, plan);
  CHECK(weight[0] == Approx(1e-9 / 0x1p-23));
  CHECK(weight[2] == 0);  // not NaN
}

TEST_CASE("a floor too small for float keeps a token without weight from NaN", "[plan][weight]") {
  moe::Routing<float> routing;
  routing.resize(1, 2, 2);
  routing.scores.eigen().setConstant(0.5f);
  routing.weight.eigen().setZero();
  for (const Index j : {0, 1}) routing.expert(0, j) = static_cast<std::int32_t>(j);
  moe::Plan plan;
  make_plan(routing, {.renormalize_kept = true, .renormalize_floor = 1e-50}, {}, plan);
  std::vector<float> weight(2, 7.0f);
  gather_slot_weights<float>(routing, plan, weight);
  CHECK(weight == std::vector<float>(2, 0.0f));
  const std::vector<float> dslot(2, 0.0f);
  Matrix<float> dweight = Matrix<float>::Zero(1, 2), dscores = dweight;
  scatter_slot_weights<float>(routing, plan, dslot, dweight, dscores);
  CHECK(dweight.isZero(0));
}

TEST_CASE("slot weights have the gradients of their differences", "[plan][weight][gradient]") {
  for (const Overflow overflow : {Overflow::drop, Overflow::next_best, Overflow::fallback}) {
    for (const bool renormalize : {false, true}) {
      for (const bool tiny : {false, true}) {
        RoutingOf made = random_routing(4, kCrowded);
        if (tiny) made.routing.weight.eigen() *= 1e-3;
        moe::Plan plan;
        make_plan(made.routing,
                  {.factor = 0.8,
                   .overflow = overflow,
                   .fallback_expert = 3,
                   .renormalize_kept = renormalize,
                   .renormalize_floor = 0.01},
                  {}, plan);
        const Matrix<double> dslot = random_matrix<double>(1, plan.count(), 6);
        const Matrix<double> weight_start = random_matrix<double>(5, 2, 7);
        const Matrix<double> scores_start = random_matrix<double>(5, 4, 8);
        Matrix<double> dweight = weight_start, dscores = scores_start;
        scatter_slot_weights<double>(made.routing, plan,
                                     {dslot.data(), static_cast<std::size_t>(plan.count())},
                                     dweight, dscores);
        const auto loss = [&] {
          const Weights weight = weights_of(made.routing, plan);
          double sum = 0;
          for (std::size_t s = 0; s < weight.size(); ++s) sum += weight[s] * dslot.data()[s];
          return sum;
        };
        check_gradient("weight", made.routing.weight, Matrix<double>(dweight - weight_start), loss);
        check_gradient("scores", made.routing.scores, Matrix<double>(dscores - scores_start), loss);
      }
    }
  }
}

TEST_CASE("slot weight gradients refuse shapes that do not fit", "[plan][weight][misuse]") {
  const RoutingOf made(4, kCrowded);
  moe::Plan plan;
  make_plan(made.routing, {}, {}, plan);
  Weights dslot(10, 1.0), few(9, 1.0);
  Matrix<double> dweight = Matrix<double>::Zero(5, 2), dscores = Matrix<double>::Zero(5, 4);
  const auto call = [&](std::span<const double> d, MatrixView<double> w, MatrixView<double> s) {
    return sentence_of([&] { scatter_slot_weights<double>(made.routing, plan, d, w, s); });
  };
  CHECK(call(few, dweight, dscores) ==
        "moe::scatter_slot_weights: dslot_weight has 9 values, the plan's slot count is 10");
  CHECK(call(dslot, dscores, dscores) ==
        "moe::scatter_slot_weights: dweight is [5, 4], expected [5, 2]");
  CHECK(call(dslot, dweight, dweight) ==
        "moe::scatter_slot_weights: dscores is [5, 2], expected [5, 4]");
  CHECK(dweight.isZero(0));
}

TEST_CASE("whole layers have the gradients of their differences under every capacity rule",
          "[plan][weight][gradient]") {
  using Layer = LayerOf<double, moe::GatedFfn<double>>;
  for (const DropOrder order : {DropOrder::position, DropOrder::choice, DropOrder::batch_priority,
                                DropOrder::weight, DropOrder::score, DropOrder::random}) {
    for (const Overflow overflow : {Overflow::drop, Overflow::next_best, Overflow::fallback}) {
      for (const bool renormalize_kept : {false, true}) {
        for (const Index k : {1, 2}) {
          INFO("order " << static_cast<int>(order) << " overflow " << static_cast<int>(overflow)
                        << " renormalise after " << renormalize_kept << " K " << k);
          const Case c{
              .t = 9, .k = k, .renormalize = !renormalize_kept, .masked = true, .seed = 35};
          Layer layer = make_layer<Layer>(c);
          layer.set_capacity({.factor = 0.6,
                              .order = order,
                              .overflow = overflow,
                              .fallback_expert = 1,
                              .renormalize_kept = renormalize_kept});
          Matrix<double> x = decided_input(layer, c, 1e-3);
          const std::vector<std::uint8_t> mask = random_mask(c);
          const moe::Batch batch{.mask = mask, .seed = 3};
          const Matrix<double> dy = random_matrix<double>(9, 4, 36);
          Layer::Tape tape;
          Matrix<double> y(9, 4), dx(9, 4);
          const auto loss = [&] {
            layer.forward(x, y, tape, batch);
            return y.cwiseProduct(dy).sum();
          };
          moe::zero_grad(layer);
          loss();
          CHECK(tape.plan.count_of(overflow == Overflow::drop        ? Outcome::dropped
                                   : overflow == Overflow::next_best ? Outcome::rerouted
                                                                     : Outcome::fallback) > 0);
          layer.backward(dy, dx, tape);
          check_gradient("x", x, dx, loss);
          const Matrix<double> gradient = layer.router().weight.grad;
          check_gradient("router.weight", layer.router().weight.value, gradient, loss);
        }
      }
    }
  }
}

TEST_CASE("dropped tokens are zero, not passed through, and the layer has an evaluation capacity",
          "[plan][weight][bug]") {
  // HF Switch returned dropped tokens themselves (transformers#36730, #37017, fixed in #37123).
  using Layer = LayerOf<double, moe::GatedFfn<double>>;
  Layer layer = make_layer<Layer>({.t = 9, .k = 1, .flooded = true});
  layer.set_capacity({.factor = 1, .evaluation_factor = 100});
  const Matrix<double> x = random_matrix<double>(9, 4, 1);
  Matrix<double> y(9, 4);
  Layer::Tape tape;
  layer.forward(x, y, tape);  // training: 3 of 9 fit
  CHECK(tape.plan.count() == 3);
  for (Index t = 0; t < 9; ++t) CHECK(y.row(t).isZero(0) == (tape.plan.expert_of(t) < 0));
  Layer::Workspace workspace;
  layer.forward(x, y, workspace);
  CHECK(workspace.plan.dropped() == 0);
}

}  // namespace moe_test
