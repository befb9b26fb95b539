// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer to a file and back: weights, state and configuration, bit for bit.
#include "moe/io/layer_file.hpp"

#include "io/temporary_folder.hpp"
#include "moe/gate/quantile.hpp"
#include "moe/router/hash.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/router/logit_cap.hpp"
#include "support/catch.hpp"

using moe_test::TemporaryFolder;

namespace {

using Layer = moe::MoeLayer<float>;
using Wrapped = moe::MoeLayer<double, moe::LearnedNoise<moe::LogitCap<moe::LinearRouter<double>>>,
                              moe::QuantileGate, moe::GatedFfn<double, moe::ClampedSilu>>;
using Hashed = moe::MoeLayer<float, moe::HashRouter<moe::UniformRouter<float>>, moe::TopKGate,
                             moe::Ffn<float, moe::Gelu>>;

/// Numbers that a copy by text would not survive.
template <class L>
void scramble(L& layer) {
  moe::Random random(5);
  layer.visit_parameters([&](std::string_view, auto& p) {
    using S = typename std::remove_cvref_t<decltype(p.value)>::Scalar;
    for (moe::Index i = 0; i < p.value.size(); ++i) {
      p.value.data()[i] = static_cast<S>(random.normal() * 1e-3);
    }
    p.value.data()[0] = std::numeric_limits<S>::denorm_min();
    p.value.data()[p.value.size() - 1] = -S(0);
  });
}

/// Names and bytes of all there is.
template <class L>
std::string everything(L& layer) {
  std::string all;
  const auto add = [&](std::string_view name, const auto* data, std::size_t count) {
    all += name;
    all.append(reinterpret_cast<const char*>(data), count * sizeof(*data));
  };
  layer.visit_parameters([&](std::string_view name, auto& p) {
    add(name, p.value.data(), static_cast<std::size_t>(p.value.size()));
  });
  layer.visit_state([&](std::string_view name, auto& value, auto&&...) {
    const auto values = moe::detail::leaf_values(value);
    add(name, values.data, values.count());
  });
  return all;
}

template <class L>
void check_round_trip(L& layer) {
  const TemporaryFolder folder;
  const auto path = folder / "layer.safetensors";
  scramble(layer);
  const std::string before = everything(layer);
  moe::save_layer(path, layer);
  CHECK(moe::saved_layer_type(path) == moe::type_label<L>());
  L loaded = moe::load_layer<L>(path);
  CHECK(everything(loaded) == before);
  CHECK(moe::detail::config_to_json(loaded) == moe::detail::config_to_json(layer));
  const std::string bytes = moe_test::file_bytes(path);
  moe::save_layer(path, loaded);  // the same layer is the same file
  CHECK(moe_test::file_bytes(path) == bytes);
}

}  // namespace

TEST_CASE("a layer comes back bit for bit, with its options") {
  Layer layer({.model_dim = 3,
               .hidden_dim = 5,
               .num_experts = 4,
               .top_k = 2,
               .router = {.bias = true},
               .gate = {.temperature = 0.7,
                        .score = moe::ScoreFunction::sigmoid,
                        .selection_bias = {0.1f, -0.2f, 1e-30f, 3},
                        .num_groups = 2,
                        .group_score = moe::GroupScore::top2_sum,
                        .norm_epsilon = 1e-20,
                        .scale = 2.5},
               .expert = {.bias = true},
               .capacity = {.factor = 1.25,
                            .evaluation_factor = std::numeric_limits<double>::infinity(),
                            .minimum = 3,
                            .order = moe::DropOrder::score}},
              3);
  check_round_trip(layer);
}

TEST_CASE("wrapped routers and gates with state come back bit for bit") {
  Wrapped layer({.model_dim = 4,
                 .hidden_dim = 3,
                 .num_experts = 3,
                 .top_k = 1,
                 .router = {.base = {.base = {}, .cap = 7}, .floor = 0.125},
                 .gate = {.ema = 0.5},
                 .expert = {.clamped = {.alpha = 1.5, .limit = 6}}},
                3);
  const moe::Matrix<double> logits = moe::Matrix<double>::Random(8, 3);
  layer.gate().observe<double>(logits, {});
  layer.gate().update();
  layer.gate().observe<double>(logits, {});  // a sum that waits for its update
  check_round_trip(layer);
}

TEST_CASE("a hash table comes back") {
  Hashed layer({.model_dim = 2,
                .hidden_dim = 2,
                .num_experts = 5,
                .top_k = 2,
                .router = {.vocabulary = 9, .seed = 77}});
  check_round_trip(layer);
}

TEST_CASE("types and enumerators have the names of the source") {
  CHECK(moe::type_label<Layer>() ==
        "MoeLayer<float, LinearRouter<float>, TopKGate, GatedFfn<float, Silu>>");
  CHECK(moe::type_label<Wrapped>() ==
        "MoeLayer<double, LearnedNoise<LogitCap<LinearRouter<double>>>, QuantileGate, "
        "GatedFfn<double, ClampedSilu>>");
  CHECK(moe::type_label<Hashed>() ==
        "MoeLayer<float, HashRouter<UniformRouter<float>>, TopKGate, Ffn<float, Gelu>>");
  CHECK(moe::detail::enumerator_name(moe::ScoreFunction::softmax_of_chosen) == "softmax_of_chosen");
  CHECK(moe::detail::enumerator_name(static_cast<moe::ScoreFunction>(31)).empty());
  CHECK(moe::detail::enumerator_named<moe::DropOrder>("batch_priority") ==
        moe::DropOrder::batch_priority);
  CHECK_FALSE(moe::detail::enumerator_named<moe::DropOrder>("batch"));
}
