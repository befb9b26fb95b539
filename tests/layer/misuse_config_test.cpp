// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers that cannot be: each refused with one sentence.
#include "moe/moe.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"

namespace moe_test {
namespace {

using Layer = LayerOf<float, moe::GatedFfn<float>>;
using Expert = moe::GatedFfn<float>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

/// The sentence for a good configuration with one thing changed.
template <class F>
std::string refusal(F&& change) {
  Layer::Config config{.model_dim = 4, .hidden_dim = 6, .num_experts = 3, .top_k = 2};
  change(config);
  return sentence_of([&] { Layer layer(config); });
}

std::string refused_capacity(double factor) {
  return refusal([=](auto& c) { c.capacity.factor = factor; });
}

moe::LinearRouter<float> router(Index d, Index e) {
  moe::Random random;
  return {{.model_dim = d, .num_experts = e}, {}, random};
}
Expert expert(Index d, Index h) {
  moe::Random random;
  return {{.model_dim = d, .hidden_dim = h}, {}, random};
}
moe::TopKGate gate(Index k, Index e) { return {{.num_experts = e, .top_k = k}, {}}; }

}  // namespace

TEST_CASE("a layer refuses sizes below one", "[layer][misuse]") {
  CHECK(refusal([](auto&) {}) == "(nothing was thrown)");
  CHECK(refusal([](auto& c) { c.model_dim = 0; }) ==
        "moe::LinearRouter: model_dim is 0, expected at least 1");
  CHECK(refusal([](auto& c) { c.model_dim = -4; }) ==
        "moe::LinearRouter: model_dim is -4, expected at least 1");
  CHECK(refusal([](auto& c) { c.num_experts = 0; }) ==
        "moe::LinearRouter: num_experts is 0, expected at least 1");
  CHECK(refusal([](auto& c) { c.num_experts = -1; }) ==
        "moe::LinearRouter: num_experts is -1, expected at least 1");
  CHECK(refusal([](auto& c) { c.hidden_dim = 0; }) ==
        "moe::FfnExpert: hidden_dim is 0, expected at least 1");
  CHECK(refusal([](auto& c) { c.hidden_dim = -6; }) ==
        "moe::FfnExpert: hidden_dim is -6, expected at least 1");
}

TEST_CASE("a layer refuses K outside 1 to E", "[layer][misuse]") {
  CHECK(refusal([](auto& c) { c.top_k = 0; }) == "moe::TopKGate: top_k is 0, expected at least 1");
  CHECK(refusal([](auto& c) { c.top_k = -2; }) ==
        "moe::TopKGate: top_k is -2, expected at least 1");
  CHECK(refusal([](auto& c) { c.top_k = 4; }) ==
        "moe::TopKGate: top_k is 4, expected at most num_experts = 3");
}

TEST_CASE("a layer refuses a bad temperature", "[layer][misuse]") {
  CHECK(refusal([](auto& c) { c.gate.temperature = 0; }) ==
        "moe::TopKGate: temperature is 0.000000, expected a finite value above 0");
  CHECK(refusal([](auto& c) { c.gate.temperature = kNan; }) ==
        "moe::TopKGate: temperature is nan, expected a finite value above 0");
}

TEST_CASE("a layer refuses a capacity factor that is not finite and positive", "[layer][misuse]") {
  const std::string end = ", expected a finite value above 0 (leave it empty for a dropless layer)";
  CHECK(refused_capacity(0) == "moe::MoeLayer: capacity factor is 0.000000" + end);
  CHECK(refused_capacity(-1.5) == "moe::MoeLayer: capacity factor is -1.500000" + end);
  CHECK(refused_capacity(kNan) == "moe::MoeLayer: capacity factor is nan" + end);
  CHECK(refused_capacity(kInf) == "moe::MoeLayer: capacity factor is inf" + end);

  Layer layer({.model_dim = 4,
               .hidden_dim = 6,
               .num_experts = 3,
               .top_k = 2,
               .capacity = {.factor = 1.25}});
  for (const double factor : {0.0, -1.0, kNan, kInf}) {
    CHECK_THAT(sentence_of([&] { layer.set_capacity({.factor = factor}); }),
               StartsWith("moe::MoeLayer::set_capacity: capacity factor is ") && EndsWith(end));
    CHECK(layer.capacity().factor == 1.25);
  }
}

TEST_CASE("a layer refuses parts that do not fit one another", "[layer][misuse]") {
  const auto refused = [](moe::LinearRouter<float> r, moe::TopKGate g, std::vector<Expert> e) {
    return sentence_of([&] { Layer layer(std::move(r), g, std::move(e)); });
  };
  CHECK(refused(router(4, 2), gate(1, 2), {expert(4, 6), expert(4, 6)}) == "(nothing was thrown)");
  CHECK(refused(router(4, 2), gate(1, 2), {}) ==
        "moe::MoeLayer: the number of experts is 0, expected at least 1");
  CHECK(refused(router(4, 3), gate(1, 2), {expert(4, 6), expert(4, 6)}) ==
        "moe::MoeLayer: the router has 3 outputs, the number of experts is 2");
  CHECK(refused(router(4, 2), gate(3, 5), {expert(4, 6), expert(4, 6)}) ==
        "moe::MoeLayer: top_k is 3, expected at most num_experts = 2");
  CHECK(refused(router(4, 2), moe::TopKGate(), {expert(4, 6), expert(4, 6)}) ==
        "moe::MoeLayer: top_k is 0, expected at least 1");
  CHECK(refused(router(4, 2), gate(1, 2), {expert(5, 6), expert(5, 6)}) ==
        "moe::MoeLayer: expert 0 has 5 columns, the router's model_dim is 4");
  CHECK(refused(router(4, 2), gate(1, 2), {expert(4, 6), expert(4, 7)}) ==
        "moe::MoeLayer: expert 1 is [7, 4], expected [6, 4] as expert 0");
  CHECK(refused(router(4, 2), gate(1, 2), {expert(4, 6), expert(3, 6)}) ==
        "moe::MoeLayer: expert 1 is [6, 3], expected [6, 4] as expert 0");
}

TEST_CASE("asking for an expert that does not exist throws", "[layer][misuse]") {
  Layer layer({.model_dim = 4, .hidden_dim = 6, .num_experts = 3, .top_k = 2});
  CHECK_NOTHROW(layer.expert(2));
  CHECK(sentence_of([&] { layer.expert(3); }) ==
        "moe::MoeLayer::expert: expert 3 is asked for, expected 0 to 2");
  CHECK_THROWS_AS(std::as_const(layer).expert(-1), std::invalid_argument);
  layer.experts().clear();
  CHECK(sentence_of([&] { layer.expert(0); }) ==
        "moe::MoeLayer::expert: expert 0 is asked for, but there are none");
}

}  // namespace moe_test
