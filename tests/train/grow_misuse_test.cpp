// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include <functional>

#include "moe/expert/any_of.hpp"
#include "moe/expert/identity.hpp"
#include "moe/router/logit_cap.hpp"
#include "moe/router/mlp.hpp"
#include "moe/train/grow.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

template <class Router>
using LayerWith = moe::MoeLayer<float, Router, moe::TopKGate, moe::Ffn<float>>;
using Plain = LayerWith<moe::LinearRouter<float>>;

template <class Layer = Plain>
Layer make(const std::function<void(typename Layer::Config&)>& change = {}) {
  typename Layer::Config config{.model_dim = 4, .hidden_dim = 6, .num_experts = 4, .top_k = 2};
  if (change) change(config);
  return Layer(config, 1);
}

/// The sentence, and that nothing of the layer changed.
template <class Layer, class F>
std::string refusal(Layer& layer, F&& f) {
  const auto before = parameters_of(layer);
  const auto bias = layer.gate().options().selection_bias;
  const std::string sentence = sentence_of([&] { f(layer); });
  CHECK(same_bits(parameters_of(layer), before));
  CHECK(layer.num_experts() == 4);
  CHECK(layer.gate().num_experts() == 4);
  CHECK(layer.gate().options().selection_bias == bias);
  return sentence;
}

}  // namespace

TEST_CASE("Experts that are not there are refused", "[train][grow][misuse]") {
  Plain layer = make();
  CHECK(refusal(layer, [](auto& l) { moe::remove_expert(l, 4); }) ==
        "moe::remove_expert: expert 4 is named, expected 0 to 3");
  CHECK(refusal(layer, [](auto& l) {
          moe::add_expert(l, {.from = {1, -1}});
        }) == "moe::add_expert: expert -1 is named, expected 0 to 3");
  CHECK(refusal(layer, [](auto& l) {
          moe::add_expert(l, {.from = {1, 1}});
        }) == "moe::add_expert: expert 1 is named twice, expected distinct experts");
  CHECK(refusal(layer, [](auto& l) { moe::merge_experts(l, {1}); }) ==
        "moe::merge_experts: 1 experts are named, expected at least 2");
  CHECK(refusal(layer, [](auto& l) {
          moe::merge_experts(l, {1, 7});
        }) == "moe::merge_experts: expert 7 is named, expected 0 to 3");
  CHECK(refusal(layer, [](auto& l) {
          moe::merge_experts(l, {1, 2}, {.shares = {1}});
        }) == "moe::merge_experts: shares has 1 values, the number of experts merged is 2");
  CHECK(refusal(layer, [](auto& l) {
          moe::merge_experts(l, {1, 2}, {.shares = {0, 0}});
        }) == "moe::merge_experts: all shares are 0, expected one above 0");
  CHECK(refusal(layer, [](auto& l) {
          moe::merge_experts(l, {1, 2}, {.shares = {1, -1}});
        }) == "moe::merge_experts: a share is -1.000000, expected a finite value of at least 0");
  CHECK(refusal(layer, [](auto& l) { moe::add_expert(l, {.from = {1}, .noise = -1}); }) ==
        "moe::add_noise: noise is -1.000000, expected a finite value of at least 0");
}

TEST_CASE("What the gate cannot do with is refused", "[train][grow][misuse]") {
  Plain all = make([](auto& c) { c.top_k = 4; });
  CHECK(refusal(all, [](auto& l) { moe::remove_expert(l, 0); }) ==
        "moe::TopKGate: top_k is 4, expected at most num_experts = 3");
  CHECK(refusal(all, [](auto& l) {
          moe::merge_experts(l, {1, 2});
        }) == "moe::TopKGate: top_k is 4, expected at most num_experts = 3");
  Plain groups = make([](auto& c) {
    c.gate.num_groups = 2;
    c.gate.selection_bias = {1, 2, 3, 4};
  });
  CHECK(refusal(groups, [](auto& l) { moe::add_expert(l); }) ==
        "moe::TopKGate: num_groups is 2, expected a divisor of num_experts = 5");
}

TEST_CASE("Routers that cannot close or split an expert say so", "[train][grow][misuse]") {
  using Capped = LayerWith<moe::LogitCap<moe::LinearRouter<float>>>;
  Capped capped = make<Capped>();
  const std::string sentence =
      "moe::add_expert: this router has no bias to close an expert or to split its weight with, "
      "expected RouterRow::copied or fresh, and no join_weight";
  CHECK(refusal(capped, [](auto& l) { moe::add_expert(l, {.row = moe::RouterRow::closed}); }) ==
        sentence);
  CHECK(refusal(capped, [](auto& l) {
          moe::add_expert(l, {.from = {0}, .row = moe::RouterRow::split});
        }) == sentence);
  Plain layer = make();
  CHECK(refusal(layer, [](auto& l) {
          moe::add_expert(l, {.from = {0, 1}, .row = moe::RouterRow::split});
        }) == "moe::add_expert: from names 2 experts, expected one to split");
}

TEST_CASE("A map of another layer's logits is refused", "[train][grow][misuse]") {
  using Mapped = LayerWith<moe::MlpRouter<float>>;
  Mapped layer = make<Mapped>([](auto& c) { c.router.residual = true; });
  CHECK(refusal(layer, [](auto& l) { moe::add_expert(l); }) ==
        "moe::add_expert: the router maps the logits of the layer before, [4, 4], expected "
        "MlpRouter without Options::residual");
}

TEST_CASE("An expert of another shape is refused", "[train][grow][misuse]") {
  Plain layer = make();
  moe::Random random(1, 1);
  const moe::Ffn<float> thick({4, 7, 1, 1}, {}, random), wide({5, 6, 1, 1}, {}, random);
  CHECK(refusal(layer, [&](auto& l) { moe::add_expert(l, thick); }) ==
        "moe::add_expert: the expert has 7 hidden values, hidden_dim of expert 0 is 6");
  CHECK(refusal(layer, [&](auto& l) { moe::add_expert(l, wide); }) ==
        "moe::add_expert: the expert has 5 columns, the router's model_dim is 4");

  using Clamped = moe::GatedFfn<float, moe::ClampedSilu>;
  using ClampedLayer = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Clamped>;
  ClampedLayer clamped = make<ClampedLayer>();
  Clamped other = clamped.expert(0);
  other.clamped.limit = 3;
  CHECK(refusal(clamped, [&](auto& l) { moe::add_expert(l, other); }) ==
        "moe::add_expert: the expert has other numbers of its clamped SwiGLU than expert 0");
}

TEST_CASE("A layer takes what it would have taken from the start", "[train][grow]") {
  const Matrix<float> x = random_matrix<float>(12, 4, 1);
  Matrix<float> y(12, 4);
  moe::Random random(1, 1);
  Plain plain = make();
  moe::add_expert(plain, moe::Ffn<float>({4, 6, 1, 1}, {true}, random));  // with a bias
  Plain::Workspace workspace;
  plain.forward(x, y, workspace);

  using Any = moe::AnyOf<float, moe::Ffn<float>, moe::IdentityExpert<float>>;
  using Mixed = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Any>;
  const moe::Ffn<float> ffn({4, 6, 1, 1}, {}, random), thick({4, 7, 1, 1}, {}, random),
      wide({5, 6, 1, 1}, {}, random);
  Mixed layer(moe::LinearRouter<float>({4, 6, 3, 2}, {}, random), moe::TopKGate({4, 6, 3, 2}, {}),
              {ffn, ffn, moe::IdentityExpert<float>()});
  moe::add_expert(layer, moe::IdentityExpert<float>());
  CHECK(refusal(layer, [&](auto& l) { moe::add_expert(l, wide); }) ==
        "moe::add_expert: the expert has 5 columns, the router's model_dim is 4");
  moe::add_expert(layer, thick);
  CHECK(layer.num_experts() == 5);
  Mixed::Workspace mixed;
  layer.forward(x, y, mixed);
  CHECK(y.allFinite());
}

TEST_CASE("A tape from before the experts changed is refused, though there are as many",
          "[train][grow][misuse]") {
  Plain layer = make([](auto&) {});
  const Matrix<float> x = random_matrix<float>(12, 4, 1);
  Matrix<float> y(12, 4), dx = Matrix<float>::Constant(12, 4, 7);
  Plain::Tape tape;
  layer.forward(x, y, tape);
  moe::remove_expert(layer, 0);
  moe::add_expert(layer, {.from = {1}});
  CHECK_THAT(sentence_of([&] { layer.backward(x, dx, tape); }),
             StartsWith("moe::MoeLayer::backward: the tape was filled by layer #"));
  CHECK((dx.array() == 7).all());
  layer.forward(x, y, tape);
  moe::merge_experts(layer, {0, 1});
  moe::add_expert(layer);
  CHECK_THAT(sentence_of([&] { layer.backward(x, dx, tape); }),
             StartsWith("moe::MoeLayer::backward: the tape was filled by layer #"));
}

TEST_CASE("The fallback expert of the capacity moves with its expert and is not removed",
          "[train][grow][misuse]") {
  Plain layer = make([](auto& c) {
    c.capacity.factor = 1.0;
    c.capacity.overflow = moe::Overflow::fallback;
    c.capacity.fallback_expert = 2;
  });
  CHECK(refusal(layer, [](auto& l) { moe::remove_expert(l, 2); }) ==
        "moe::remove_expert: expert 2 is the fallback expert of the capacity, expected another one "
        "first: set_capacity");
  moe::remove_expert(layer, 0);
  CHECK(layer.capacity().fallback_expert == 1);
  moe::merge_experts(layer, {0, 1});
  CHECK(layer.capacity().fallback_expert == 0);
}

TEST_CASE("The capacity's shares follow the experts", "[train][grow][misuse]") {
  using Shares = std::vector<double>;
  Plain layer = make([](auto& c) {
    c.capacity.factor = 1.0;
    c.capacity.share = {1, 2, 4, 8};
  });
  const Matrix<float> x = random_matrix<float>(12, 4, 1);
  Matrix<float> y(12, 4);
  const auto shares = [&] {
    Plain::Workspace workspace;
    layer.forward(x, y, workspace);
    return layer.capacity().share;
  };
  moe::add_expert(layer, {.from = {1}});
  CHECK(shares() == Shares{1, 2, 4, 8, 2});
  moe::add_expert(layer, {.row = moe::RouterRow::fresh});
  CHECK(shares() == Shares{1, 2, 4, 8, 2, 3.4});
  for (const moe::RouterRow row : {moe::RouterRow::fresh, moe::RouterRow::closed}) {
    Plain other = layer;
    const auto change = moe::add_expert(other, {.from = {2}, .row = row});
    CHECK(other.capacity().share == Shares{1, 2, 4, 8, 2, 3.4, 4});
    CHECK(change.axes.at("router.weight") == moe::ExpertAxis::rows);
    CHECK_FALSE(same_bits(other.router().weight.value.row(6), other.router().weight.value.row(2)));
  }
  moe::remove_expert(layer, 0);
  CHECK(shares() == Shares{2, 4, 8, 2, 3.4});
  moe::merge_experts(layer, {0, 2}, {.shares = {1, 3}});
  CHECK(shares() == Shares{6.5, 4, 2, 3.4});

  moe::CapacityOptions short_of_one = layer.capacity();
  short_of_one.share.pop_back();
  layer.set_capacity(short_of_one);
  CHECK(refusal(layer, [](auto& l) { moe::remove_expert(l, 0); }) ==
        "moe::remove_expert: the capacity's share has 3 values, the number of experts is 4");
}

}  // namespace moe_test
