// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers of every shape to a file and back.
#include "io/round_trip.hpp"
#include "moe/layer/concat.hpp"
#include "moe/layer/dense_layer.hpp"
#include "moe/layer/hierarchical_layer.hpp"
#include "moe/layer/latent.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"

using namespace moe_test;

namespace {

template <class L>
void check(const typename L::Config& config, int least_refused = 60) {
  L layer(config, 3);
  scramble(layer);
  const L loaded = check_round_trip(layer);
  CHECK(output_of(loaded) == output_of(layer));
  CHECK(check_hostile(layer) > least_refused);
}

}  // namespace

TEST_CASE("a dense layer comes back") {
  check<moe::DenseLayer<float>>({.model_dim = 4,
                                 .hidden_dim = 3,
                                 .num_experts = 3,
                                 .router = {.bias = true},
                                 .gate = {.temperature = 0.5},
                                 .expert = {.bias = true}});
}

TEST_CASE("a soft layer comes back") {
  using moe::SoftNormalization;
  for (const auto normalization :
       {SoftNormalization::none, SoftNormalization::l2, SoftNormalization::rms}) {
    check<moe::SoftLayer<float>>({.model_dim = 4,
                                  .hidden_dim = 3,
                                  .num_experts = 2,
                                  .slots = 3,
                                  .normalization = normalization,
                                  .noise_stddev = 0.25});
  }
}

TEST_CASE("a concatenating layer comes back") {
  check<moe::ConcatLayer<float>>({.model_dim = 4,
                                  .hidden_dim = 3,
                                  .num_experts = 4,
                                  .top_k = 2,
                                  .gate = {.score = moe::ScoreFunction::sigmoid},
                                  .capacity = {.factor = 2, .share = {1, 2, 1, 1}}});
}

TEST_CASE("a latent layer comes back") {
  check<moe::LatentLayer<float>>(
      {.model_dim = 6, .latent_dim = 3, .hidden_dim = 5, .num_experts = 4, .top_k = 2});
}

TEST_CASE("groups in groups come back, whatever each of them is") {
  using Inner = moe::HierarchicalLayer<float>;
  using Outer = moe::HierarchicalLayer<float, Inner>;
  Outer layer({.model_dim = 4,
               .num_groups = 2,
               .top_k = 1,
               .capacity = {.factor = 1.5},
               .group = {.num_groups = 3,
                         .top_k = 2,
                         .group = {.model_dim = 4, .hidden_dim = 3, .num_experts = 2, .top_k = 1}}},
              3);
  scramble(layer);
  CHECK(output_of(check_round_trip(layer)) == output_of(layer));
  CHECK(check_hostile(layer) > 60);

  layer.group(1).group(2) = moe::MoeLayer<float>(
      {.model_dim = 4, .hidden_dim = 7, .num_experts = 5, .top_k = 3, .gate = {.scale = 2}}, 9);
  Outer loaded = check_round_trip(layer);
  CHECK(loaded.group(1).group(2).num_experts() == 5);
  CHECK(loaded.group(1).group(2).gate().options().scale == 2);
  CHECK(output_of(loaded) == output_of(layer));
}

TEST_CASE("a shared expert around any layer comes back") {
  using Sparse = moe::SharedLayer<moe::MoeLayer<float>>;
  const Sparse::Config config = {
      .layer = {.model_dim = 4, .hidden_dim = 3, .num_experts = 3, .top_k = 2}, .hidden_dim = 5};
  check<Sparse>(config);
  Sparse::Config gated = config;
  gated.gate = true;
  check<Sparse>(gated);
  check<moe::SharedLayer<moe::LatentLayer<float>, moe::Ffn<float, moe::Relu>>>(
      {.layer = {.model_dim = 6, .latent_dim = 2, .hidden_dim = 3, .num_experts = 3, .top_k = 2},
       .hidden_dim = 5,
       .expert = {.bias = true}});
}
