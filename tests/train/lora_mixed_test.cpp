// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Experts with adapters among experts of other kinds.
#include "expert/mixed.hpp"
#include "moe/layer/packed_layer.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/threads.hpp"
#include "train/lora_cases.hpp"

namespace moe_test {
namespace {

template <class S>
using Plain = moe::GatedFfn<S>;
template <class S>
using Lora = moe::LoraFfn<Plain<S>>;
template <class S>
using Kinds =
    moe::AnyOf<S, Plain<S>, Lora<S>, moe::SharedLoraFfn<Plain<S>>, moe::IdentityExpert<S>>;
template <class S>
using Mixed = LayerOf<S, Kinds<S>>;

constexpr moe::Dims kDims{.model_dim = 6, .hidden_dim = 10, .num_experts = 7, .top_k = 3};

/// Plain, two with adapters, identity, one with an adapter on w_in alone, two that share a base.
template <class S>
Mixed<S> mixed_layer() {
  moe::Random random(4, 4);
  const auto plain = [&] { return Plain<S>(kDims, {.bias = true}, random); };
  const auto adapted = [&](const moe::LoraOptions& options) {
    return Lora<S>(plain(), options, random);
  };
  const auto shared = std::make_shared<const Plain<S>>(plain());
  std::vector<Kinds<S>> experts;
  experts.emplace_back(plain());
  experts.emplace_back(adapted({.rank = 3, .alpha = 4}));
  experts.emplace_back(adapted({.rank = 2, .alpha = 4}));
  experts.emplace_back(moe::IdentityExpert<S>());
  experts.emplace_back(adapted({.rank = 2, .alpha = 1, .on_gate = false, .on_out = false}));
  for (int i = 0; i < 2; ++i) {
    experts.emplace_back(moe::SharedLoraFfn<Plain<S>>(shared, {.rank = 2}, random));
  }
  Mixed<S> layer(moe::LinearRouter<S>(kDims, {}, random), moe::TopKGate(kDims, {}),
                 std::move(experts));
  layer.visit_parameters([&](std::string_view name, auto& p) {
    if (!name.ends_with(".b")) return;
    for (Index i = 0; i < p.value.size(); ++i) {
      p.value.data()[i] = static_cast<S>(0.3 * random.normal());
    }
  });
  return layer;
}

/// The same layer, adapters merged into plain FFNs.
template <class S>
Mixed<S> merged_of(const Mixed<S>& layer) {
  Mixed<S> merged = layer;
  for (Index e = 0; e < layer.num_experts(); ++e) {
    layer.expert(e).visit([&](const auto& expert) {
      if constexpr (requires { expert.merged_ffn(); }) merged.expert(e) = expert.merged_ffn();
    });
  }
  return merged;
}

}  // namespace

TEMPLATE_TEST_CASE("Adapters among other kinds compute what their merged FFNs compute",
                   "[train][lora][expert]", float, double) {
  using S = TestType;
  auto layer = mixed_layer<S>();
  auto merged = merged_of(layer);
  const Matrix<S> x = random_matrix<S>(40, 6, 5), dy = random_matrix<S>(40, 6, 6);
  const Step<S> step = train_step(layer, x, dy), expected = train_step(merged, x, dy);
  CHECK(same_bits(step.y, expected.y));
  CHECK(same_bits(step.dx, expected.dx));
  CHECK(same_bits(output(layer, x), expected.y));
  CHECK(same_bits(output(moe::pack(layer), x), expected.y));
  CHECK(same_bits(step.gradient.at("experts.0.w_in"), expected.gradient.at("experts.0.w_in")));
  CHECK(step.gradient.at("experts.1.w_in").size() == 0);  // frozen
  for (const Index size : {2, 3, 4}) {
    Threads threads(size);
    typename Mixed<S>::Tape tape{moe::ExecutorRef(threads)};
    CHECK(same_bits(train_step(layer, x, dy, tape), step));
  }
  const Matrix<S> few = x.middleRows(11, 2);  // some experts have no rows
  CHECK(same_bits(output(layer, few), Matrix<S>(step.y.middleRows(11, 2))));

  layer.expert(1).template get<Lora<S>>().merge();
  CHECK(same_bits(train_step(layer, x, dy).y, step.y));
  layer.expert(1).template get<Lora<S>>().unmerge();
  CHECK(same_bits(train_step(layer, x, dy), step));
}

TEST_CASE("Gradients of adapters among other kinds against finite differences",
          "[train][lora][expert][gradient]") {
  auto layer = mixed_layer<double>();
  Matrix<double> x = random_matrix<double>(9, 6, 5);
  const Matrix<double> dy = random_matrix<double>(9, 6, 6);
  for (const bool on_input : {false, true}) {
    layer.gate() = moe::TopKGate(kDims, {.weight_on_input = on_input});
    const Step<double> step = train_step(layer, x, dy);
    const auto loss = [&] { return output(layer, x).cwiseProduct(dy).sum(); };
    layer.visit_parameters([&](std::string_view name, auto& p) {
      if (!p.trainable) return;
      check_gradient(std::string(name), p.value, step.gradient.at(std::string(name)), loss, 40);
    });
    check_gradient("x", x, step.dx, loss);
  }
}

TEST_CASE("Adapters among other kinds are packed in bfloat16, too", "[train][lora][packed_layer]") {
  const auto layer = mixed_layer<float>();
  const Matrix<float> x = random_matrix<float>(40, 6, 5), expected = output(layer, x);
  const auto native = moe::pack(layer), half = moe::pack(layer, moe::WeightType::bfloat16);
  CHECK(half.bytes() * 2 == native.bytes());
  const Matrix<float> y = output(half, x);
  CHECK((y - expected).norm() < 0.02F * expected.norm());
  CHECK((y - expected).norm() > 1e-5F * expected.norm());
}

TEST_CASE("Merging one of several kinds between a forward and its backward is refused",
          "[train][lora][misuse]") {
  auto layer = mixed_layer<float>();
  const Matrix<float> x = random_matrix<float>(21, 6, 5), dy = random_matrix<float>(21, 6, 6);
  Matrix<float> y(21, 6), dx = Matrix<float>::Constant(21, 6, 7);
  Mixed<float>::Tape tape;
  layer.forward(x, y, tape);
  const auto refusal = [&] { return sentence_of([&] { layer.backward(dy, dx, tape); }); };
  layer.expert(4).get<Lora<float>>().merge();
  CHECK(refusal() ==
        "moe::MoeLayer::backward: expert 4 was merged since the forward, expected backward before "
        "merge and unmerge");
  layer.expert(4).get<Lora<float>>().unmerge();
  const Kinds<float> plain = layer.expert(0);
  layer.expert(0) = layer.expert(1);
  CHECK(refusal() == "moe::MoeLayer::backward: expert 0 is of another kind than in the forward");
  CHECK((dx.array() == 7).all());
  layer.expert(0) = plain;
  layer.backward(dy, dx, tape);
}

TEST_CASE("Adapters of other matrices than in the forward are refused", "[train][lora][misuse]") {
  auto layer = mixed_layer<float>();
  const Matrix<float> x = random_matrix<float>(21, 6, 5), dy = random_matrix<float>(21, 6, 6);
  Matrix<float> y(21, 6), dx = Matrix<float>::Constant(21, 6, 7);
  Mixed<float>::Tape tape;
  layer.forward(x, y, tape);
  const Kinds<float> on_in = layer.expert(4);
  layer.expert(4) = layer.expert(1);  // on all three: more values than were made
  CHECK(sentence_of([&] { layer.backward(dy, dx, tape); }) ==
        "moe::MoeLayer::backward: expert 4 has adapters of other matrices than in the forward");
  moe::Random random(6);
  layer.expert(4) = Lora<float>(on_in.get<Lora<float>>().base(),
                                {.rank = 2, .on_in = false, .on_out = false}, random);
  CHECK_THAT(sentence_of([&] { layer.backward(dy, dx, tape); }),
             EndsWith("expert 4 has adapters of other matrices than in the forward"));
  CHECK((dx.array() == 7).all());
  layer.expert(4) = on_in;
  layer.backward(dy, dx, tape);
}

}  // namespace moe_test
