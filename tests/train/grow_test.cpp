// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/grow.hpp"

#include "moe/train/freeze.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

using moe::RouterRow;
using moe::ScoreFunction;
template <class S>
using Layer = LayerOf<S, moe::GatedFfn<S>>;

template <class S>
Layer<S> make(Index top_k, moe::TopKGate::Options gate, bool router_bias = false) {
  typename Layer<S>::Config config{
      .model_dim = 7, .hidden_dim = 9, .num_experts = 4, .top_k = top_k};
  config.router.bias = router_bias;
  config.gate = gate;
  return Layer<S>(config, 3);
}

template <class L>
auto output(const L& layer, const Matrix<typename L::Scalar>& x) {
  Matrix<typename L::Scalar> y(x.rows(), x.cols());
  typename L::Workspace workspace;
  layer.forward(x, y, workspace);
  return y;
}

/// Output, gradients of the input and of every parameter of the experts `e` < `most`.
template <class L>
auto trained(L& layer, Index tokens, Index most) {
  using S = typename L::Scalar;
  auto step = train_step(layer, random_matrix<S>(tokens, layer.model_dim(), 5),
                         random_matrix<S>(tokens, layer.model_dim(), 6));
  std::erase_if(step.gradient, [&](const auto& entry) {
    for (Index e = 0; e < most; ++e) {
      if (moe::names_parameter("experts." + std::to_string(e), entry.first)) return false;
    }
    return true;
  });
  return step;
}

const moe::TopKGate::Options kGates[] = {
    {},
    {.renormalize = false},
    {.score = ScoreFunction::sigmoid},
    {.score = ScoreFunction::softmax_of_chosen},
    {.score = ScoreFunction::sqrt_softplus},
    {.score = ScoreFunction::sigmoid, .selection_bias = {0.1f, -0.2f, 0.0f, 0.3f}},
};

}  // namespace

TEMPLATE_TEST_CASE("A closed expert changes no bit of the output or of the other gradients",
                   "[train][grow]", float, double) {
  for (const auto& gate : kGates) {
    for (const Index top_k : {1, 2, 4}) {
      for (const bool bias : {false, true}) {
        INFO("score " << static_cast<int>(gate.score) << " top_k " << top_k << " bias " << bias);
        Layer<TestType> layer = make<TestType>(top_k, gate, bias);
        const auto before = trained(layer, 33, 4);
        const auto change = moe::add_expert(layer, {.row = RouterRow::closed});
        CHECK(change.after() == 5);
        CHECK(layer.num_experts() == 5);
        const auto after = trained(layer, 33, 4);
        CHECK(same_bits(after.y, before.y));
        CHECK(same_bits(after.dx, before.dx));
        CHECK(same_bits(after.gradient, before.gradient));
        moe::remove_expert(layer, 4);
        CHECK(same_bits(trained(layer, 33, 4), before));
      }
    }
  }
}

TEST_CASE("A closed expert can be opened and then learns", "[train][grow]") {
  Layer<double> layer = make<double>(2, {});
  moe::add_expert(layer, {.row = RouterRow::closed});
  layer.router().weight.value.row(4) = layer.router().weight.value.row(0) * 1.5;
  layer.router().bias.value(0, 4) = 0;
  const Step<double> step =
      train_step(layer, random_matrix<double>(33, 7, 5), random_matrix<double>(33, 7, 6));
  CHECK(step.gradient.at("experts.4.w_in").cwiseAbs().maxCoeff() > 0);
  CHECK(step.gradient.at("router.weight").row(4).cwiseAbs().maxCoeff() > 0);
}

TEST_CASE("A fresh expert is the one the layer would have had", "[train][grow]") {
  Layer<double> layer = make<double>(2, {});
  moe::add_expert(layer, {.seed = 3});
  typename Layer<double>::Config config{
      .model_dim = 7, .hidden_dim = 9, .num_experts = 5, .top_k = 2};
  const Layer<double> wider(config, 3);
  CHECK(same_bits(layer.expert(4).w_gate.value, wider.expert(4).w_gate.value));
  CHECK(same_bits(layer.expert(4).w_out.value, wider.expert(4).w_out.value));
  const Matrix<double>& rows = layer.router().weight.value;
  CHECK(same_bits(Matrix<double>(rows.topRows(4)), make<double>(2, {}).router().weight.value));
  CHECK(rows.row(4).norm() > 0.2 * rows.row(0).norm());
  CHECK(rows.row(4).norm() < 5 * rows.row(0).norm());
}

TEST_CASE("A copy with its row leaves top-1 as it is when scores do not compete", "[train][grow]") {
  for (const auto& gate : {moe::TopKGate::Options{.score = ScoreFunction::sigmoid},
                           moe::TopKGate::Options{.normalize_single = true}}) {
    Layer<float> layer = make<float>(1, gate);
    const Matrix<float> x = random_matrix<float>(40, 7, 5), before = output(layer, x);
    const auto change = moe::add_expert(layer, {.from = {2}});
    CHECK(same_bits(layer.expert(4).w_in.value, layer.expert(2).w_in.value));
    CHECK(same_bits(output(layer, x), before));
    CHECK(change.origin[4].newcomer);
    CHECK(change.find(2) == 2);
  }
}

TEST_CASE("Several experts make one with their mean, noise is of the asked size", "[train][grow]") {
  Layer<double> layer = make<double>(2, {.selection_bias = {1, 2, 3, 6}});
  moe::add_expert(layer, {.from = {1, 3}});
  const auto mean = [](const Matrix<double>& a, const Matrix<double>& b) -> Matrix<double> {
    return (a + b) / 2;
  };
  CHECK(distance(layer.expert(4).w_out.value,
                 mean(layer.expert(1).w_out.value, layer.expert(3).w_out.value)) < 1e-15);
  const Matrix<double>& rows = layer.router().weight.value;
  CHECK(distance(Matrix<double>(rows.row(4)), mean(rows.row(1), rows.row(3))) < 1e-15);
  CHECK(layer.gate().selection_bias()[4] == 4.0f);
  CHECK(layer.gate().selection_bias()[2] == 3.0f);

  moe::add_expert(layer, {.from = {0}, .noise = 0.1, .seed = 9});
  const Matrix<double>& original = layer.expert(0).w_in.value;
  const Matrix<double> off = layer.expert(5).w_in.value - original;
  const double spread = std::sqrt((original.array() - original.mean()).square().mean());
  CHECK(std::sqrt(off.array().square().mean()) == Approx(0.1 * spread).epsilon(0.3));
}

TEST_CASE("An expert trained elsewhere can be added", "[train][grow]") {
  Layer<double> layer = make<double>(2, {});
  moe::Random random(77, 0);
  const moe::GatedFfn<double> trained_alone({7, 9, 1, 1}, {}, random);
  moe::add_expert(layer, trained_alone, {.row = RouterRow::closed});
  CHECK(same_bits(layer.expert(4).w_in.value, trained_alone.w_in.value));
}

TEST_CASE("Removing an expert that is not used keeps the others' outputs", "[train][grow]") {
  for (const auto& gate : kGates) {
    if (!gate.renormalize) continue;
    INFO("score " << static_cast<int>(gate.score));
    Layer<float> layer = make<float>(2, gate, /*router_bias=*/true);
    layer.router().bias.value(0, 1) = -8;  // never among the two best, yet in the softmax
    const Matrix<float> x = random_matrix<float>(40, 7, 5), before = output(layer, x);
    const moe::ExpertChange change = moe::remove_expert(layer, 1);
    CHECK(change.find(0) == 0);
    CHECK(change.find(1) == -1);
    CHECK(change.find(3) == 2);
    const Matrix<float> after = output(layer, x);
    if (gate.score == ScoreFunction::softmax) {
      CHECK(distance(after, before) <= tolerance<float>(16));
    } else {
      CHECK(same_bits(after, before));
    }
  }
}

TEST_CASE("Equal experts merge to the same bits", "[train][grow]") {
  Layer<float> layer = make<float>(1, {.score = ScoreFunction::sigmoid});
  const Matrix<float> x = random_matrix<float>(40, 7, 5), before = output(layer, x);
  const Matrix<float> weight = layer.expert(1).w_out.value;
  moe::add_expert(layer, {.from = {1}});
  moe::add_expert(layer, {.from = {1}});
  const auto change = moe::merge_experts(layer, {5, 1, 4}, {.shares = {1, 5, 3}});
  CHECK(layer.num_experts() == 4);
  CHECK(same_bits(layer.expert(1).w_out.value, weight));
  CHECK(same_bits(output(layer, x), before));
  CHECK(change.find(5) == 1);
  CHECK(change.find(3) == 3);
}

TEST_CASE("Merging is the mean by shares, for weights, rows and gate", "[train][grow]") {
  Layer<double> layer =
      make<double>(2, {.score = ScoreFunction::sigmoid, .selection_bias = {1, 2, 3, 6}}, true);
  const Layer<double> old = layer;
  moe::merge_experts(layer, {0, 3}, {.shares = {30, 10}});
  CHECK(layer.num_experts() == 3);
  const auto mean = [](const auto& a, const auto& b) -> Matrix<double> {
    return 0.75 * a + 0.25 * b;
  };
  CHECK(distance(layer.expert(0).w_gate.value,
                 mean(old.expert(0).w_gate.value, old.expert(3).w_gate.value)) < 1e-15);
  const auto& rows = old.router().weight.value;
  CHECK(distance(Matrix<double>(layer.router().weight.value.row(0)),
                 mean(rows.row(0), rows.row(3))) < 1e-15);
  const auto& bias = old.router().bias.value;
  CHECK(layer.router().bias.value(0, 0) == Approx(0.75 * bias(0, 0) + 0.25 * bias(0, 3)));
  CHECK(layer.gate().selection_bias()[0] == 2.25f);
  CHECK(layer.gate().selection_bias()[2] == 3.0f);
  CHECK(same_bits(layer.expert(2).w_in.value, old.expert(2).w_in.value));
}

TEST_CASE("A change moves counts and settings kept per expert", "[train][grow]") {
  Layer<double> layer = make<double>(2, {});
  const std::vector<std::int64_t> counts{5, 6, 7, 8};
  const std::vector<double> means{1, 2, 3, 6};
  const auto added = moe::add_expert(layer, {.from = {1, 2}});
  CHECK(added.counts(counts) == std::vector<std::int64_t>{5, 6, 7, 8, 0});
  CHECK(added.values(means) == std::vector<double>{1, 2, 3, 6, 2.5});
  moe::remove_expert(layer, 4);
  const auto fresh = moe::add_expert(layer);
  CHECK(fresh.values(means) == std::vector<double>{1, 2, 3, 6, 3});
  moe::remove_expert(layer, 4);
  const auto merged = moe::merge_experts(layer, {1, 3});
  CHECK(merged.counts(counts) == std::vector<std::int64_t>{5, 14, 7});
  CHECK(merged.values(means) == std::vector<double>{1, 4, 3});
  CHECK(merged.counts(std::vector<int>{}).empty());
  CHECK(sentence_of([&] {
          merged.counts(std::vector<int>{1, 2});
        }) == "moe::ExpertChange: the list has 2 values, the number before is 4");
}

}  // namespace moe_test
