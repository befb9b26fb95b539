// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/layer/packed_layer.hpp"
#include "moe/layer/shared.hpp"
#include "moe/router/logit_cap.hpp"
#include "moe/train/adamw.hpp"
#include "moe/train/freeze.hpp"
#include "support/catch.hpp"
#include "train/lora_cases.hpp"

namespace moe_test {

TEST_CASE("Merging keeps every bit of the output, and unmerging restores the weights' bits",
          "[train][lora]") {
  auto layer = adapted_layer<moe::GatedFfn<float>>();
  const Matrix<float> x = random_matrix<float>(21, 6, 5), y = output(layer, x);
  const auto before = parameters_of(layer);
  moe::merge_lora(layer);
  CHECK(same_bits(output(layer, x), y));
  CHECK_FALSE(same_bits(layer.expert(0).base().w_in.value, before.at("experts.0.w_in")));
  moe::merge_lora(layer);  // once is enough
  CHECK(same_bits(output(layer, x), y));
  moe::unmerge_lora(layer);
  CHECK(same_bits(parameters_of(layer), before));
  moe::unmerge_lora(layer);
  CHECK(same_bits(parameters_of(layer), before));
  CHECK(same_bits(output(layer, x), y));
}

TEST_CASE("Unmerging what was not kept is off by two units in the last place", "[train][lora]") {
  auto layer = adapted_layer<moe::GatedFfn<float>>();
  const Matrix<float> original = layer.expert(2).base().w_in.value;
  moe::merge_lora(layer, /*keep=*/false);
  const Matrix<float> merged = layer.expert(2).base().w_in.value;
  moe::unmerge_lora(layer);
  const Matrix<float> off = (layer.expert(2).base().w_in.value - original).cwiseAbs();
  const Matrix<float> size = original.cwiseAbs().cwiseMax(merged.cwiseAbs());
  CHECK(off.maxCoeff() > 0);  // or keep would be needless
  CHECK((off.array() <= 2 * std::numeric_limits<float>::epsilon() * size.array()).all());
}

TEST_CASE("A merged layer is plain: the same bits, to be packed and trained", "[train][lora]") {
  auto layer = adapted_layer<moe::GatedFfn<float>>();
  const Matrix<float> x = random_matrix<float>(21, 6, 5), y = output(layer, x);
  auto plain = moe::merged_layer(layer);
  CHECK(same_bits(output(plain, x), y));
  const auto packed = moe::pack(plain);
  CHECK(same_bits(output(packed, x), y));
  CHECK(moe::trainable_count(plain) == 0);
  moe::unfreeze(plain);
  train_step(plain, x, y);
  moe::AdamW<float>().step(plain);
  CHECK_FALSE(same_bits(output(plain, x), y));

  const auto merged = moe::pack(layer);  // packing merges, and packs the router, too
  STATIC_REQUIRE(std::same_as<decltype(merged), decltype(packed)>);
  CHECK(same_bits(output(merged, x), y));
  moe::merge_lora(layer);
  CHECK(same_bits(output(moe::pack(layer), x), y));
  moe::unmerge_lora(layer);
  CHECK(sentence_of([&] { layer.expert(0).pointers(); }) ==
        "moe::LoraFfn::pointers: the adapters are apart from the weights, expected merge() or "
        "merged_layer() first");
}

TEST_CASE("While merged, adapters get no gradients and optimizers leave them alone",
          "[train][lora]") {
  auto layer = adapted_layer<moe::GatedFfn<float>>();
  const Matrix<float> x = random_matrix<float>(21, 6, 5), dy = random_matrix<float>(21, 6, 6);
  moe::AdamW<float> adamw;
  train_step(layer, x, dy);
  adamw.step(layer);
  const auto before = parameters_of(layer);
  const Step<float> apart = train_step(layer, x, dy);
  moe::merge_lora(layer);
  const Step<float> merged = train_step(layer, x, dy);
  CHECK(same_bits(merged.y, apart.y));
  CHECK(same_bits(merged.dx, apart.dx));
  adamw.step(layer);
  moe::unmerge_lora(layer);
  for (const auto& [name, value] : parameters_of(layer)) {
    if (!name.ends_with("gradient")) CHECK(same_bits(value, before.at(name)));
  }
  CHECK(same_bits(train_step(layer, x, dy), apart));  // and it goes on
  adamw.step(layer);
}

TEST_CASE("A forward and its backward are on one side of merging", "[train][lora][misuse]") {
  auto layer = adapted_layer<moe::GatedFfn<float>>();
  const Matrix<float> x = random_matrix<float>(21, 6, 5), dy = random_matrix<float>(21, 6, 6);
  const Step<float> expected = train_step(layer, x, dy);
  Matrix<float> y(21, 6), dx(21, 6);
  decltype(layer)::Tape tape;
  const auto refusal = [&] { return sentence_of([&] { layer.backward(dy, dx, tape); }); };

  moe::merge_lora(layer);
  layer.forward(x, y, tape);
  moe::unmerge_lora(layer);
  const auto before = parameters_of(layer);
  CHECK_THAT(refusal(), EndsWith("expert 0 was unmerged since the forward, expected "
                                 "backward before merge and unmerge"));
  CHECK(same_bits(parameters_of(layer), before));
  layer.forward(x, y, tape);
  moe::merge_lora(layer);
  CHECK_THAT(refusal(), ContainsSubstring("expert 0 was merged since the forward"));
  moe::unmerge_lora(layer);

  // There and back again moves the weights, and that is all.
  layer.visit_parameters([](std::string_view, auto& p) { p.grad.resize(0, 0); });
  layer.forward(x, y, tape);
  moe::merge_lora(layer);
  moe::unmerge_lora(layer);
  layer.backward(dy, dx, tape);
  CHECK(same_bits(dx, expected.dx));
  for (const auto& [name, gradient] : expected.gradient) {
    layer.visit_parameters([&, &wanted = name, &bits = gradient](std::string_view n, auto& p) {
      if (n == wanted) CHECK(same_bits(p.grad, bits));
    });
  }
}

TEST_CASE("A forward and its backward adapt the same matrices", "[train][lora][misuse]") {
  moe::Random random(3);
  const moe::Dims dims{.model_dim = 6, .hidden_dim = 10, .num_experts = 2, .top_k = 2};
  using Lora = moe::LoraFfn<moe::GatedFfn<float>>;
  const moe::LoraOptions on_gate{.rank = 2, .on_in = false, .on_out = false};
  const Matrix<float> x = random_matrix<float>(9, 6, 5), dy = random_matrix<float>(9, 6, 6);
  Matrix<float> y(9, 6), dx = Matrix<float>::Constant(9, 6, 7);

  Lora expert(dims, {.lora = on_gate}, random);
  Lora::State state;
  expert.forward(x, y, state);
  expert.in.start(10, 6, 2, random);
  CHECK(sentence_of([&] { expert.backward(x, dy, dx, state); }) ==
        "moe::LoraFfn::backward: the expert has adapters of other matrices than in the forward");

  moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Lora> layer(
      {.model_dim = 6,
       .hidden_dim = 10,
       .num_experts = 2,
       .top_k = 2,
       .expert = {.lora = on_gate}});
  decltype(layer)::Tape tape;
  layer.forward(x, y, tape);
  std::swap(layer.expert(1).gate, layer.expert(1).in);  // as many values
  CHECK(sentence_of([&] { layer.backward(dy, dx, tape); }) ==
        "moe::MoeLayer::backward: expert 1 has adapters of other matrices than in the forward");
  CHECK((dx.array() == 7).all());
}

TEST_CASE("A router that is merged between a forward and its backward is refused",
          "[train][lora][misuse]") {
  auto layer = adapted_layer<moe::GatedFfn<float>>();
  const Matrix<float> x = random_matrix<float>(21, 6, 5), dy = random_matrix<float>(21, 6, 6);
  Matrix<float> y(21, 6), dx = Matrix<float>::Constant(21, 6, 7);
  decltype(layer)::Tape tape;
  const auto before = parameters_of(layer);
  layer.forward(x, y, tape);
  layer.router().merge();
  const auto refusal = [&] { return sentence_of([&] { layer.backward(dy, dx, tape); }); };
  CHECK(
      refusal() ==
      "moe::MoeLayer::backward: the router was merged since the forward, expected backward before "
      "merge and unmerge");
  layer.router().unmerge();
  CHECK(same_bits(parameters_of(layer), before));
  CHECK((dx.array() == 7).all());
  layer.backward(dy, dx, tape);  // the tape still waits
  CHECK(layer.router().adapter.a.grad.norm() > 0);

  layer.router().merge();
  layer.forward(x, y, tape);
  layer.router().unmerge();
  CHECK_THAT(refusal(), ContainsSubstring("the router was unmerged since the forward"));
}

TEST_CASE("Layers around one with adapters ask it before they write", "[train][lora][misuse]") {
  moe::Random random(3);
  moe::SharedLayer layer(adapted_layer<moe::GatedFfn<float>>(),
                         moe::GatedFfn<float>({.model_dim = 6, .hidden_dim = 4}, {}, random));
  const Matrix<float> x = random_matrix<float>(21, 6, 5), dy = random_matrix<float>(21, 6, 6);
  Matrix<float> y(21, 6), dx = Matrix<float>::Constant(21, 6, 7);
  decltype(layer)::Tape tape;
  layer.forward(x, y, tape);
  layer.layer().router().merge();
  const auto before = parameters_of(layer);
  CHECK_THAT(sentence_of([&] { layer.backward(dy, dx, tape); }),
             StartsWith("moe::MoeLayer::backward: the router was merged since the forward"));
  CHECK(same_bits(parameters_of(layer), before));
  CHECK((dx.array() == 7).all());
}

TEST_CASE("A router inside another is asked, too, and so is one alone", "[train][lora][misuse]") {
  using Router = moe::LogitCap<moe::LoraRouter<double>>;
  moe::MoeLayer<double, Router> layer({.model_dim = 6,
                                       .hidden_dim = 5,
                                       .num_experts = 4,
                                       .top_k = 2,
                                       .router = {.base = {.lora = {.rank = 2}}, .cap = 3}});
  const Matrix<double> x = random_matrix<double>(9, 6, 5), dlogits = random_matrix<double>(9, 4, 6);
  Matrix<double> y(9, 6), dx(9, 6), logits(9, 4);
  decltype(layer)::Tape tape;
  layer.forward(x, y, tape);
  layer.router().base.merge();
  CHECK_THAT(sentence_of([&] { layer.backward(x, dx, tape); }),
             StartsWith("moe::MoeLayer::backward: the router was merged since the forward"));

  moe::LoraRouter<double>& router = layer.router().base;
  moe::LoraRouter<double>::State state;
  router.forward(x, logits, {}, state, {});
  router.unmerge();
  CHECK_THAT(sentence_of([&] { router.backward(x, dlogits, dx, state, {}); }),
             StartsWith("moe::LoraRouter::backward: the router was unmerged since the forward"));
}

TEST_CASE("Experts with adapters work alone, as what they would be merged", "[train][lora]") {
  auto layer = adapted_layer<moe::GatedFfn<double>>();
  auto& expert = layer.expert(1);
  auto merged = expert.merged_ffn();
  moe::unfreeze(merged);
  const Matrix<double> x = random_matrix<double>(11, 6, 5), dy = random_matrix<double>(11, 6, 6);
  Matrix<double> y(11, 6), expected(11, 6), dx(11, 6), expected_dx(11, 6);
  typename std::remove_cvref_t<decltype(expert)>::State state;
  moe::GatedFfn<double>::State merged_state;
  expert.forward(x, y, state);
  merged.forward(x, expected, merged_state);
  CHECK(same_bits(y, expected));
  expert.backward(x, dy, dx, state);
  merged.backward(x, dy, expected_dx, merged_state);
  CHECK(same_bits(dx, expected_dx));
  CHECK(distance(expert.in.b.grad, Matrix<double>(4.0 / 3 * merged.w_in.grad *
                                                  expert.in.a.value.transpose())) < 1e-13);
  CHECK(distance(expert.out.a.grad, Matrix<double>(4.0 / 3 * expert.out.b.value.transpose() *
                                                   merged.w_out.grad)) < 1e-13);
  CHECK(sentence_of([&] { expert.backward(x, dy, dx, state); }) ==
        "moe::LoraFfn::backward: the state is empty, expected one forward before each backward");
}

TEST_CASE("An expert alone refuses a backward that does not fit", "[train][lora][misuse]") {
  auto layer = adapted_layer<moe::GatedFfn<double>>();
  auto& expert = layer.expert(1);
  Matrix<double> x = random_matrix<double>(11, 6, 5);
  const Matrix<double> dy = random_matrix<double>(11, 6, 6), before = x;
  Matrix<double> y(11, 6), dx(11, 6);
  typename std::remove_cvref_t<decltype(expert)>::State state;
  expert.forward(x, y, state);
  CHECK(sentence_of([&] { expert.backward(x, dy, x, state); }) ==
        "moe::LoraFfn::backward: din shares memory with in, expected separate matrices");
  CHECK(same_bits(x, before));
  expert.merge();
  CHECK(sentence_of([&] { expert.backward(x, dy, dx, state); }) ==
        "moe::LoraFfn::backward: the expert was merged since the forward, expected backward before "
        "merge and unmerge");
  expert.unmerge();
  expert.out.b.value.resize(5, 3);
  CHECK(sentence_of([&] { expert.backward(x, dy, dx, state); }) ==
        "moe::LoraFfn::backward: the adapter of w_out is [5, 3] [3, 10], expected [6, 3] [3, 10]");
}

TEST_CASE("Bad adapters are refused", "[train][lora][misuse]") {
  using Ffn = moe::GatedFfn<float>;
  CHECK(sentence_of([] { moe::add_lora(plain_layer<Ffn>(), {.experts = {.rank = -1}}); }) ==
        "moe::LoraFfn: rank is -1, expected at least 0");
  CHECK(sentence_of([] { moe::add_lora(plain_layer<Ffn>(), {.router = {.alpha = NAN}}); }) ==
        "moe::LoraRouter: alpha is nan, expected a finite value");
  CHECK(sentence_of([] { moe::add_lora(plain_layer<Ffn>(), {.chosen = {4}}); }) ==
        "moe::add_lora: expert 4 is named, expected 0 to 3");
  auto layer = adapted_layer<Ffn>();
  const auto adapter = layer.router().adapter;
  layer.router().adapter.a.value.resize(2, 5);
  CHECK(sentence_of([&] { moe::pack(layer); }) ==
        "moe::pack: the adapter of the router is [4, 2] [2, 5], expected [4, 2] [2, 6]");
  layer.router().adapter = adapter;
  layer.expert(2).in.a.value.resize(3, 5);
  const Matrix<float> x = random_matrix<float>(4, 6, 5);
  CHECK(sentence_of([&] { output(layer, x); }) ==
        "moe::MoeLayer::forward: the adapter of w_in is [10, 3] [3, 5], expected [10, 3] [3, 6]");
}

}  // namespace moe_test
