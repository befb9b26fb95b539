// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers of experts of several kinds against the book, and their corners.
#include "expert/mixed.hpp"
#include "support/catch.hpp"

namespace moe_test {
namespace {

const Case kCases[] = {
    {.t = 23, .d = 7, .h = 5, .e = 12, .k = 3, .seed = 1},
    {.t = 40, .d = 19, .h = 33, .e = 12, .k = 5, .renormalize = false, .seed = 2},
    {.t = 31, .d = 8, .h = 6, .e = 12, .k = 2, .capacity = 0.6, .masked = true, .seed = 3},
    {.t = 17, .d = 5, .h = 4, .e = 12, .k = 12, .seed = 4},
    {.t = 9, .d = 5, .h = 4, .e = 12, .k = 1, .flooded = true, .seed = 5},
    {.t = 1, .d = 1, .h = 1, .e = 12, .k = 2, .seed = 6},
    {.t = 0, .d = 3, .h = 4, .e = 12, .k = 2, .seed = 7}};

template <class S>
void check(const Case& c, const MixedLayer<S>& layer) {
  INFO(c);
  const Matrix<S> x = random_matrix<S>(c.t, c.d, c.seed);
  const std::vector<std::uint8_t> mask = random_mask(c);
  Framed<S> y(c.t, c.d, 2);
  y.inner().setConstant(S(5));
  typename MixedLayer<S>::Workspace workspace;
  layer.forward(x, y.view(), workspace, {.mask = mask});
  CHECK(y.frame_is_whole());
  CHECK(distance(y.inner(), mixed_output(layer, x, workspace)) <= tolerance<S>(c.d + c.h + c.k));
  typename MixedLayer<S>::Tape tape;
  Matrix<S> again(c.t, c.d);
  layer.forward(x, again, tape, {.mask = mask});
  CHECK(same_bits(again, y.inner()));
}

}  // namespace

TEMPLATE_TEST_CASE("a layer of experts of several kinds computes what the book says", "[expert]",
                   float, double) {
  using S = TestType;
  for (const Case& c : kCases) {
    for (const bool on_input : {false, true}) {
      check<S>(c, make_mixed_layer<S>(c, every_kind<S>(), on_input));
    }
  }
}

TEMPLATE_TEST_CASE("all tokens may go to one expert of any kind", "[expert]", float, double) {
  using S = TestType;
  const Case c{.t = 15, .d = 6, .h = 5, .e = 12, .k = 1, .seed = 8};
  for (Index e = 0; e < c.e; ++e) {
    auto layer = make_mixed_layer<S>(c, every_kind<S>());
    layer.router().bias.value(0, e) += S(50);
    check<S>(c, layer);
    const Step<S> step =
        train_step(layer, random_matrix<S>(c.t, c.d, 1), random_matrix<S>(c.t, c.d, 2));
    for (const auto& [name, gradient] : step.gradient) {
      if (name.rfind("experts." + std::to_string(e) + ".", 0) == 0) {
        CHECK_FALSE(gradient.isZero(0));
      } else if (name.rfind("experts.", 0) == 0) {
        CHECK(gradient.isZero(0));  // empty for experts that were never asked
      }
    }
  }
}

TEST_CASE("FFNs among AnyOf have the bits of a layer of FFNs", "[expert][bitwise]") {
  const Case c{.t = 37, .d = 20, .h = 23, .e = 6, .k = 3, .capacity = 0.9, .seed = 9};
  auto plain = make_layer<LayerOf<float, moe::GatedFfn<float>>>(c);
  auto mixed = make_mixed_layer<float>(
      c, moe::ExpertMix<Any<float>>().add<moe::GatedFfn<float>>(6, {.bias = true}));
  plain.gate() = mixed.gate();
  const Matrix<float> x = random_matrix<float>(c.t, c.d, 1), dy = random_matrix<float>(c.t, c.d, 2);
  CHECK(same_bits(train_step(mixed, x, dy), train_step(plain, x, dy)));
}

TEST_CASE("a NaN in a token stays there, whatever kinds it meets", "[expert]") {
  const Case c{.t = 11, .d = 6, .h = 5, .e = 12, .k = 4, .seed = 10};
  auto layer = make_mixed_layer<float>(c, every_kind<float>());
  Matrix<float> x = random_matrix<float>(c.t, c.d, 1), y(c.t, c.d), with_nan(c.t, c.d);
  MixedLayer<float>::Workspace workspace;
  layer.forward(x, y, workspace);
  x(4, 3) = std::nanf("");
  layer.forward(x, with_nan, workspace);
  for (Index t = 0; t < c.t; ++t) {
    if (t == 4) {
      CHECK(with_nan.row(t).array().isNaN().all());
    } else {
      CHECK(same_bits(with_nan.row(t), y.row(t)));
    }
  }
  // Even where only a zero expert is left to it.
  layer.gate() = moe::TopKGate({.model_dim = 6, .num_experts = 12, .top_k = 1}, {});
  layer.expert(0) = moe::ZeroExpert<float>();
  layer.forward(x, with_nan, workspace);
  CHECK(workspace.routing.expert(4, 0) == 0);
  CHECK(with_nan.row(4).array().isNaN().all());
}

TEST_CASE("a mixed layer learns through one tape again and again, whatever was on it", "[expert]") {
  const Case c{.t = 14, .d = 6, .h = 5, .e = 12, .k = 4, .seed = 11};
  auto layer = make_mixed_layer<double>(c, every_kind<double>());
  const Matrix<double> x = random_matrix<double>(14, 6, 1), dy = random_matrix<double>(14, 6, 2);
  MixedLayer<double>::Tape tape;
  const Step<double> first = train_step(layer, x, dy, tape);
  const Step<double> fewer =
      train_step(layer, Matrix<double>(x.topRows(5)), Matrix<double>(dy.topRows(5)), tape);
  CHECK(same_bits(fewer.y, first.y.topRows(5)));
  CHECK(same_bits(fewer.dx, first.dx.topRows(5)));
  train_step(layer, Matrix<double>(0, 6), Matrix<double>(0, 6), tape);
  CHECK(same_bits(train_step(layer, x, dy, tape), first));
}

TEST_CASE("frozen parts of a constant expert get no gradient", "[expert]") {
  const Case c{.t = 14, .d = 6, .h = 5, .e = 12, .k = 12, .seed = 12};
  auto layer = make_mixed_layer<double>(c, every_kind<double>());
  layer.expert(9).get<moe::ConstantExpert<double>>().mix.trainable = false;
  const Matrix<double> x = random_matrix<double>(14, 6, 1);
  const Step<double> step = train_step(layer, x, x);
  CHECK(step.gradient.at("experts.9.mix").size() == 0);
  CHECK_FALSE(step.gradient.at("experts.9.constant").isZero(0));
}

TEST_CASE("an expert says of which kind it is", "[expert]") {
  Any<float> expert = moe::ZeroExpert<float>();
  CHECK(expert.holds<moe::ZeroExpert<float>>());
  CHECK_FALSE(expert.holds<moe::IdentityExpert<float>>());
  CHECK(sentence_of([&] { expert.get<moe::GatedFfn<float>>(); }) ==
        "moe::AnyOf::get: the expert is of kind 4, expected 0 in the list of kinds");
  moe::Random random(1);
  expert = moe::GatedFfn<float>({.model_dim = 3, .hidden_dim = 2}, {}, random);
  CHECK(expert.get<moe::GatedFfn<float>>().w_in.value.rows() == 2);
  CHECK(moe::parameter_count(expert) == 18);
}

TEST_CASE("a layer of several kinds refuses what does not fit", "[expert][misuse]") {
  const Case c{.t = 3, .d = 4, .h = 5, .e = 12, .k = 2};
  MixedLayer<float>::Config config{.model_dim = 4,
                                   .hidden_dim = 5,
                                   .num_experts = 11,
                                   .top_k = 2,
                                   .expert = every_kind<float>()};
  CHECK(sentence_of([&] { MixedLayer<float> layer(config); }) ==
        "moe::ExpertMix: the list has 12 experts, num_experts is 11");
  CHECK(sentence_of([&] { moe::ExpertMix<Any<float>>().add<moe::ZeroExpert<float>>(-1); }) ==
        "moe::ExpertMix: count is -1, expected at least 0");
  CHECK(sentence_of([&] {
          moe::Random random(1);
          every_kind<float>().make(12, {.model_dim = 4, .hidden_dim = 5}, random);
        }) == "moe::ExpertMix: expert 12 is asked for, expected 0 to 11");

  auto layer = make_mixed_layer<float>(c, every_kind<float>());
  moe::Random random(1);
  const Any<float> good = layer.expert(2), good_constant = layer.expert(9);
  layer.expert(2) = moe::GatedFfn<float>({.model_dim = 6, .hidden_dim = 2}, {}, random);
  const Matrix<float> x = random_matrix<float>(3, 4, 1);
  Matrix<float> y = Matrix<float>::Constant(3, 4, 7), dx = y;
  MixedLayer<float>::Tape tape;
  CHECK(sentence_of([&] { layer.forward(x, y, tape); }) ==
        "moe::MoeLayer::forward: expert 2 has 6 columns, the router's model_dim is 4");
  layer.expert(2) = good;
  layer.expert(9) = moe::ConstantExpert<float>({.model_dim = 5}, {}, random);
  CHECK(sentence_of([&] { layer.forward(x, y, tape); }) ==
        "moe::MoeLayer::forward: mix is [2, 5], expected [2, 4]");
  CHECK((y.array() == 7).all());

  layer.expert(9) = good_constant;
  layer.forward(x, y, tape);
  layer.expert(2) = moe::ZeroExpert<float>();
  CHECK(sentence_of([&] { layer.backward(x, dx, tape); }) ==
        "moe::MoeLayer::backward: the experts are of other kinds or shapes than in the forward");
  CHECK((dx.array() == 7).all());
}

}  // namespace moe_test
