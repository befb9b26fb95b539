// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/grow/parts.hpp"

#include "moe/gate/auction.hpp"
#include "moe/gate/dense.hpp"
#include "moe/gate/expert_choice.hpp"
#include "moe/gate/gshard.hpp"
#include "moe/gate/quantile.hpp"
#include "moe/gate/relu.hpp"
#include "moe/gate/sinkhorn.hpp"
#include "moe/gate/sparse_mixer.hpp"
#include "moe/gate/top_any.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/gate/top_p.hpp"
#include "moe/router/cosine.hpp"
#include "moe/router/hash.hpp"
#include "moe/router/input_jitter.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/router/linear.hpp"
#include "moe/router/logit_cap.hpp"
#include "moe/router/logit_noise.hpp"
#include "moe/router/mlp.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

namespace moe_test {
namespace {

using moe::ExpertChange;

Matrix<double> random(Index rows, Index cols, std::uint64_t seed) {
  moe::Random draws(seed, 3);
  Matrix<double> m(rows, cols);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = draws.normal();
  return m;
}

/// Experts 0 to 3: 1 goes, and there are a copy of 2 and a fresh one.
ExpertChange some_change() {
  ExpertChange change(4);
  change.origin.erase(change.origin.begin() + 1);
  change.origin.push_back({{2}, {1.0}, true});
  change.origin.push_back({{}, {}, true});
  return change;
}

template <class R>
void check_router(const typename R::Options& options) {
  moe::Random draws(1, 0);
  R router({6, 1, 4, 2}, options, draws);
  if constexpr (requires { router.noise_weight; }) router.noise_weight.value = random(4, 6, 9);
  R grown = router;
  ExpertChange change = some_change();
  moe::detail::rearrange_parameters<double>(grown, "router.", change);
  moe::detail::draw_fresh_rows<double>(grown, router, change, draws);
  CHECK(grown.num_experts() == 5);
  const Matrix<double> x = random(9, 6, 2);
  for (const bool training : {false, true}) {
    moe::Batch batch;
    batch.training = training;
    typename R::State before_state, after_state;
    Matrix<double> before(9, 4), after(9, 5);
    router.forward(x, before, batch, before_state, {});
    grown.forward(x, after, batch, after_state, {});
    CHECK(after.allFinite());
    if (training) continue;  // draws differ from expert to expert
    const Index from[] = {0, 2, 3, 2};
    for (Index e = 0; e < 4; ++e) {
      CHECK(same_bits(Matrix<double>(after.col(e)), Matrix<double>(before.col(from[e]))));
    }
    CHECK(after.col(4).cwiseAbs().maxCoeff() > 0.01 * before.cwiseAbs().maxCoeff());
  }
}

/// Routing of 4 experts, and of the same with a fifth that is closed: the same choices and weights.
template <class G>
void check_gate(const typename G::Options& options, Index top_k = 2) {
  const G gate({6, 1, 4, top_k}, options);
  ExpertChange change(4);
  change.origin.push_back({{}, {}, true});
  const G grown = moe::detail::gate_after<double>(gate, change);
  Matrix<double> logits = random(30, 5, 8);
  logits.col(4).setConstant(moe::kClosedLogit);
  const Matrix<double> four = logits.leftCols(4);
  moe::Routing<double> before, after;
  typename G::State before_state, after_state;
  before.resize(30, gate.top_k(), 4);
  after.resize(30, grown.top_k(), 5);
  gate.forward(MatrixView<const double>(four), before, {}, before_state);
  grown.forward(MatrixView<const double>(logits), after, {}, after_state);
  for (Index t = 0; t < 30; ++t) {
    Matrix<double> one = Matrix<double>::Zero(1, 4), two = Matrix<double>::Zero(1, 5);
    for (Index j = 0; j < gate.top_k(); ++j) {
      if (before.expert(t, j) >= 0) one(0, before.expert(t, j)) += before.weight(t, j);
    }
    for (Index j = 0; j < grown.top_k(); ++j) {
      if (after.expert(t, j) >= 0) two(0, after.expert(t, j)) += after.weight(t, j);
    }
    CHECK(same_bits(Matrix<double>(two.leftCols(4)), one));
    CHECK(two(0, 4) == 0);
  }
  change = ExpertChange(4);
  change.origin.erase(change.origin.begin());
  CHECK(moe::detail::gate_after<double>(gate, change).top_k() == (gate.top_k() == 4 ? 3 : top_k));
}

}  // namespace

TEST_CASE("Routers keep the logits of the experts that stay", "[train][grow]") {
  using Linear = moe::LinearRouter<double>;
  using Cosine = moe::CosineRouter<double>;
  check_router<Linear>({});
  check_router<Linear>({.bias = true});
  check_router<Cosine>(moe::CosineOptions::tutel());
  check_router<Cosine>(moe::CosineOptions::xmoe());
  check_router<moe::MlpRouter<double>>({});
  check_router<moe::LearnedNoise<Linear>>({});
  check_router<moe::LogitCap<Linear>>({});
  check_router<moe::InputJitter<moe::LogitNoise<Cosine>>>({});
}

TEST_CASE("Noise per expert follows the number of experts", "[train][grow]") {
  using Noisy = moe::LogitNoise<moe::LinearRouter<double>>;
  moe::Random draws(1, 0);
  Noisy router({6, 1, 4, 2}, {.scale = 2, .per_expert = true}, draws);
  CHECK(router.scale() == 0.5);
  ExpertChange change(4);
  change.origin.push_back({{0}, {1.0}, true});
  moe::detail::rearrange_parameters<double>(router, "router.", change);
  CHECK(router.scale() == 0.4);
}

TEST_CASE("Hash tables have no place for another expert", "[train][grow]") {
  CHECK_FALSE(moe::HasExpertAxes<moe::HashRouter<moe::LinearRouter<float>>>);
  CHECK_FALSE(moe::HasExpertAxes<moe::UniformRouter<float>>);
  CHECK(moe::HasExpertAxes<moe::LearnedNoise<moe::LogitCap<moe::LinearRouter<float>>>>);
}

TEST_CASE("A closed expert is outside of every gate's choice", "[train][grow]") {
  check_gate<moe::TopKGate>({});
  check_gate<moe::TopKGate>({.score = moe::ScoreFunction::sigmoid, .scale = 2.5});
  check_gate<moe::DenseGate>({}, 4);
  check_gate<moe::TopPGate>({}, 4);
  check_gate<moe::ReluGate>({}, 4);
  check_gate<moe::ReluGate>({.max_experts = 2}, 2);
  check_gate<moe::TopAnyGate<double>>({}, 4);
  check_gate<moe::GShardGate>({});
  check_gate<moe::SparseMixerGate>({});
  check_gate<moe::SinkhornGate>({});
  check_gate<moe::AuctionGate>({}, 1);
  check_gate<moe::QuantileGate>({});
}

TEST_CASE("What gates learned or were told follows the experts", "[train][grow]") {
  ExpertChange change = some_change();
  moe::TopAnyGate<double> any({6, 1, 4, 4}, {});
  any.threshold.value << 1, 2, 3, 5;
  any.threshold.trainable = false;
  const auto grown = moe::detail::gate_after<double>(any, change);
  CHECK(grown.top_k() == 5);
  Matrix<double> expected(1, 5);
  expected << 1, 3, 5, 3, 2.75;
  CHECK(same_bits(grown.threshold.value, expected));
  CHECK_FALSE(grown.threshold.trainable);
  CHECK(change.axes.at("gate.threshold") == moe::ExpertAxis::columns);

  for (const auto on : grown.active()) CHECK(on == 1);

  moe::QuantileGate quantile({6, 1, 4, 2}, {.ema = 0.5});
  quantile.set_selection_bias({1, 2, 3, 5});
  quantile.observe(MatrixView<const double>(random(20, 4, 1)), {});
  moe::QuantileGate after = moe::detail::gate_after<double>(quantile, change);
  CHECK(after.selection_bias()[1] == 3);
  CHECK(after.selection_bias()[4] == 2.75f);
  const auto centre = [](moe::QuantileGate& gate) {
    gate.update();
    return gate.selection_bias()[0] -
           gate.selection_bias()[gate.selection_bias().size() == 4 ? 2 : 1];
  };
  CHECK(centre(after) == Approx(centre(quantile)));  // what was observed went along

  moe::ExpertChoiceGate choice({6, 1, 4, 2}, {.max_experts = 3});
  const auto wider = moe::detail::gate_after<double>(choice, change);
  CHECK(wider.top_k() == 3);
  CHECK(wider.options().capacity_factor == 2);
}

TEST_CASE("Experts that a gate switched off stay off", "[train][grow]") {
  using Active = std::vector<int>;
  moe::TopAnyGate<double> gate({6, 1, 4, 4}, {});
  const auto after = [&](ExpertChange change) {
    const auto grown = moe::detail::gate_after<double>(gate, change);
    return Active(grown.active().begin(), grown.active().end());
  };
  gate.set_active(1, false);
  gate.set_active(2, false);
  CHECK(after(some_change()) == Active{1, 0, 1, 1, 1});  // a copy of one that is off is on
  ExpertChange merged(4);
  merged.origin = {{{0}, {1.0}}, {{1, 2}, {0.5, 0.5}}, {{3}, {1.0}}};
  CHECK(after(merged) == Active{1, 0, 1});
  merged.origin[1] = {{1, 0}, {0.5, 0.5}};
  merged.origin[0] = {{2}, {1.0}};
  CHECK(after(merged) == Active{0, 1, 1});
  gate.set_active(0, false);
  ExpertChange removed(4);
  removed.origin.pop_back();  // the last one that was on
  CHECK(after(removed) == Active{1, 0, 0});
}

}  // namespace moe_test
