// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers whose experts differ, that grew, or carry adapters, to a file and back.
#include "io/round_trip.hpp"
#include "moe/expert/any_of.hpp"
#include "moe/expert/constant.hpp"
#include "moe/expert/identity.hpp"
#include "moe/expert/zero.hpp"
#include "moe/layer/layer_expert.hpp"
#include "moe/train/grow.hpp"
#include "moe/train/lora.hpp"

using namespace moe_test;

namespace {

using Ffn = moe::GatedFfn<float>;
using Clamped = moe::GatedFfn<float, moe::ClampedSilu>;
using Any = moe::AnyOf<float, Ffn, Clamped, moe::IdentityExpert<float>, moe::ZeroExpert<float>,
                       moe::ConstantExpert<float>, moe::LayerExpert<float, moe::MoeLayer<float>>>;
using Mixed = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Any>;

Mixed mixed_layer() {
  moe::Random random(1);
  const moe::Dims dims = {4, 3, 7, 3};
  std::vector<Any> experts;
  experts.emplace_back(Ffn(dims, {.bias = true}, random));
  experts.emplace_back(Ffn({4, 6, 7, 3}, {}, random));
  experts.emplace_back(
      Clamped(dims, {.clamped = {.alpha = 1.25, .limit = 3, .offset = 0.5}}, random));
  experts.emplace_back(moe::IdentityExpert<float>());
  experts.emplace_back(moe::ZeroExpert<float>());
  experts.emplace_back(moe::ConstantExpert<float>(dims, {}, random));
  experts.emplace_back(moe::LayerExpert<float, moe::MoeLayer<float>>(
      moe::MoeLayer<float>({.model_dim = 4, .hidden_dim = 2, .num_experts = 3, .top_k = 1})));
  return {moe::LinearRouter<float>(dims, {}, random),
          moe::TopKGate(dims, {}),
          std::move(experts),
          {.factor = 1.5, .share = moe::shares_of_kinds(3, 4, 0.5)}};
}

/// A user's expert: nothing but D and an option.
struct Scale {
  struct Options {
    double start = 1;
    template <class F>
    void visit(F&& f) {
      f("start", start);
    }
  };
  using State = moe::NoState;
  Scale(const moe::Dims& dims, const Options& options, moe::Random&) : factor(1, dims.model_dim) {
    factor.value.setConstant(static_cast<float>(options.start));
    start = options.start;
  }
  Options options() const { return {start}; }
  void forward(moe::MatrixView<const float> in, moe::MatrixView<float> out, State&) const {
    for (moe::Index t = 0; t < in.rows(); ++t) {
      for (moe::Index d = 0; d < in.cols(); ++d) out(t, d) = in(t, d) * factor.value(0, d);
    }
  }
  void backward(moe::MatrixView<const float>, moe::MatrixView<const float>, moe::MatrixView<float>,
                State&) {}
  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("factor"), factor);
  }
  moe::Parameter<float> factor;
  double start = 1;
};

namespace other {
struct Scale : ::Scale {
  using ::Scale::Scale;
};
}  // namespace other

/// The same without a word about its options.
struct Silent : Scale {
  struct Options {
    double start = 1;
  };
  using Scale::Scale;
};

using AdaptedLayer = moe::LoraLayer<float, moe::TopKGate, Ffn>;

AdaptedLayer adapted_layer() {
  moe::MoeLayer<float> plain(
      {.model_dim = 4, .hidden_dim = 3, .num_experts = 4, .top_k = 2, .router = {.bias = true}}, 3);
  scramble(plain);
  AdaptedLayer layer =
      moe::add_lora(std::move(plain), {.experts = {.rank = 2, .alpha = 0.7, .on_in = false},
                                       .router = {.rank = 3, .alpha = 1.0 / 3},
                                       .chosen = {0, 2}});
  moe::Random random(8);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    if (name.find("lora") != name.npos) p.init_uniform(random, 4);
  });
  return layer;
}

}  // namespace

TEST_CASE("a layer of experts of many kinds comes back") {
  Mixed layer = mixed_layer();
  scramble(layer);
  const Mixed loaded = check_round_trip(layer);
  CHECK(output_of(loaded) == output_of(layer));
  CHECK(loaded.expert(2).get<Clamped>().clamped.alpha == 1.25);
  CHECK(check_hostile(layer) > 200);
}

TEST_CASE("what one kind of expert says is compared with what is there") {
  const TemporaryFolder folder;
  Mixed layer = mixed_layer(), other = mixed_layer();
  moe::save_layer(folder / "layer", layer);
  other.expert(2).get<Clamped>().clamped.alpha = 2;
  CHECK_THAT(message_of<moe::FileError>([&] { moe::load_layer_into(folder / "layer", other); }),
             ContainsSubstring("layer.config.experts.2.alpha is 1.25, expected 2"));
  moe::load_layer_into(folder / "layer", other, {.same_config = false});
  CHECK(other.expert(2).get<Clamped>().clamped.alpha == 2);
}

TEST_CASE("kinds of one name are told apart by their place") {
  using Same = moe::AnyOf<float, Scale, other::Scale>;
  using L = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Same>;
  moe::ExpertMix<Same> mix;
  mix.add<other::Scale>(2, {.start = 5}).add<Scale>(1);
  L layer({.model_dim = 3, .hidden_dim = 2, .num_experts = 3, .top_k = 2, .expert = mix}, 1);
  const L loaded = check_round_trip(layer);
  CHECK(loaded.expert(1).holds<other::Scale>());
  CHECK(output_of(loaded) == output_of(layer));
}

TEST_CASE("a user's expert comes back by its options; one without can be loaded into") {
  using Own = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Scale>;
  Own layer(
      {.model_dim = 3, .hidden_dim = 2, .num_experts = 3, .top_k = 2, .expert = {.start = 2}});
  CHECK(output_of(check_round_trip(layer)) == output_of(layer));
  CHECK(check_hostile(layer) > 60);

  using L = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate,
                          moe::AnyOf<float, Silent, moe::ZeroExpert<float>>>;
  static_assert(!moe::detail::HasBlueprint<L> && !moe::detail::HasBlueprint<Silent>);
  const TemporaryFolder folder;
  moe::Random random(3);
  const moe::Dims dims = {3, 2, 2, 1};
  const auto make = [&] {
    std::vector<moe::AnyOf<float, Silent, moe::ZeroExpert<float>>> experts;
    experts.emplace_back(Silent(dims, {.start = 3}, random));
    experts.emplace_back(moe::ZeroExpert<float>());
    return L(moe::LinearRouter<float>(dims, {}, random), moe::TopKGate(dims, {}),
             std::move(experts));
  };
  L saved = make(), loaded = make();
  scramble(saved);
  moe::save_layer(folder / "layer", saved);
  moe::load_layer_into(folder / "layer", loaded);
  CHECK(everything(loaded) == everything(saved));
}

TEST_CASE("a layer that grew comes back") {
  moe::MoeLayer<float> layer({.model_dim = 4,
                              .hidden_dim = 3,
                              .num_experts = 3,
                              .top_k = 2,
                              .gate = {.selection_bias = {0.5f, -1, 2}}},
                             3);
  moe::add_expert(layer, {.from = {1}});
  moe::add_expert(layer, {.from = {0}, .row = moe::RouterRow::split});
  CHECK(output_of(check_round_trip(layer)) == output_of(layer));
  moe::remove_expert(layer, 1);
  scramble(layer);
  const auto loaded = check_round_trip(layer);
  CHECK(loaded.num_experts() == 4);
  CHECK(output_of(loaded) == output_of(layer));

  Mixed mixed = mixed_layer();
  mixed.set_capacity({});
  moe::add_expert(mixed, Any(moe::ZeroExpert<float>()));
  CHECK(check_round_trip(mixed).expert(7).holds<moe::ZeroExpert<float>>());
}

TEST_CASE("biases that only some places have come back") {
  moe::MoeLayer<float> layer({.model_dim = 4, .hidden_dim = 3, .num_experts = 2, .top_k = 1});
  for (moe::Index e = 0; e < 2; ++e) layer.expert(e).b_in = moe::Parameter<float>(1, 3);
  CHECK(check_round_trip(layer).expert(1).b_out.empty());
}

TEST_CASE("adapters come back, apart from their weights or merged into them") {
  AdaptedLayer layer = adapted_layer();
  AdaptedLayer loaded = check_round_trip(layer);
  CHECK(output_of(loaded) == output_of(layer));
  CHECK_FALSE(loaded.expert(0).base().w_in.trainable);
  CHECK(check_hostile(layer) > 200);

  const moe::Matrix<float> original = layer.expert(2).base().w_gate.value;
  const moe::Matrix<float> original_router = layer.router().base.weight.value;
  const bool keep = GENERATE(true, false);
  moe::merge_lora(layer, keep);
  loaded = check_round_trip(layer);
  CHECK(loaded.expert(2).merged());
  CHECK(output_of(loaded) == output_of(layer));
  moe::unmerge_lora(loaded);
  moe::unmerge_lora(layer);
  CHECK(everything(loaded) == everything(layer));
  if (keep) CHECK(loaded.expert(2).base().w_gate.value == original);
  if (keep) CHECK(loaded.router().base.weight.value == original_router);
}

TEST_CASE("merged adapters are not loaded into a layer that is not merged") {
  const TemporaryFolder folder;
  AdaptedLayer layer = adapted_layer(), other = adapted_layer();
  layer.expert(2).merge(/*keep=*/false);
  moe::save_layer(folder / "layer", layer);
  CHECK_THAT(message_of<moe::FileError>([&] { moe::load_layer_into(folder / "layer", other); }),
             ContainsSubstring("layer.config.experts.2.merged is true, expected false"));
}

TEST_CASE("a mixture of adapters on a shared base is loaded into, as the base is not saved") {
  using Mixture = moe::LoraMixture<float, moe::TopKGate, Ffn>;
  static_assert(!moe::detail::HasBlueprint<Mixture>);
  const TemporaryFolder folder;
  moe::Random random(3);
  const moe::Dims dims = {4, 3, 2, 1};
  const Ffn base(dims, {}, random);
  Mixture saved({dims, {}, random}, {dims, {}}, moe::lora_experts(base, 2, {.rank = 2}));
  Mixture loaded({dims, {}, random}, {dims, {}}, moe::lora_experts(base, 2, {.rank = 2}));
  scramble(saved);
  moe::save_layer(folder / "layer", saved);
  moe::load_layer_into(folder / "layer", loaded);
  CHECK(everything(loaded) == everything(saved));
  CHECK(output_of(loaded) == output_of(saved));
}
