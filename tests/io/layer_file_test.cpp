// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer to a file and back: weights, state and configuration, bit for bit.
#include "moe/io/layer_file.hpp"

#include "io/round_trip.hpp"
#include "moe/block/norm.hpp"
#include "moe/gate/quantile.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/router/hash.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/router/logit_cap.hpp"
#include "moe/train/lora/ffn.hpp"

using namespace moe_test;

namespace {

using Layer = moe::MoeLayer<float>;
using Wrapped = moe::MoeLayer<double, moe::LearnedNoise<moe::LogitCap<moe::LinearRouter<double>>>,
                              moe::QuantileGate, moe::GatedFfn<double, moe::ClampedSilu>>;
using Hashed = moe::MoeLayer<float, moe::HashRouter<moe::UniformRouter<float>>, moe::TopKGate,
                             moe::Ffn<float, moe::Gelu>>;

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
  scramble(layer);
  check_round_trip(layer);
  CHECK(check_hostile(layer) > 100);
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
  scramble(layer);
  check_round_trip(layer);
  CHECK(check_hostile(layer) > 100);
}

TEST_CASE("a hash table comes back") {
  Hashed layer({.model_dim = 2,
                .hidden_dim = 2,
                .num_experts = 5,
                .top_k = 2,
                .router = {.vocabulary = 9, .seed = 77}});
  scramble(layer);
  check_round_trip(layer);
  CHECK(check_hostile(layer) > 100);
}

TEST_CASE("types and enumerators have the names of the source") {
  CHECK(moe::type_label<Layer>() ==
        "MoeLayer<float, LinearRouter<float>, TopKGate, GatedFfn<float, Silu>>");
  CHECK(moe::type_label<Wrapped>() ==
        "MoeLayer<double, LearnedNoise<LogitCap<LinearRouter<double>>>, QuantileGate, "
        "GatedFfn<double, ClampedSilu>>");
  CHECK(moe::type_label<Hashed>() ==
        "MoeLayer<float, HashRouter<UniformRouter<float>>, TopKGate, Ffn<float, Gelu>>");
  CHECK(moe::type_label<moe::LoraFfn<moe::GatedFfn<float>, true>>() ==
        "LoraFfn<GatedFfn<float, Silu>, true>");
  CHECK(moe::type_label<moe::RowNorm<double, false>>() == "RowNorm<double, false>");
  CHECK(moe::detail::enumerator_name(moe::ScoreFunction::softmax_of_chosen) == "softmax_of_chosen");
  CHECK(moe::detail::enumerator_name(static_cast<moe::ScoreFunction>(31)).empty());
  CHECK(moe::detail::enumerator_named<moe::DropOrder>("batch_priority") ==
        moe::DropOrder::batch_priority);
  CHECK_FALSE(moe::detail::enumerator_named<moe::DropOrder>("batch"));
}
