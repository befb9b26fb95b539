// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Transformer blocks and their parts to a file and back.
#include "io/round_trip.hpp"
#include "moe/block/attention_moe.hpp"
#include "moe/block/ffn_layer.hpp"
#include "moe/block/stack.hpp"
#include "moe/block/transformer_block.hpp"
#include "moe/block/transformer_expert.hpp"
#include "moe/expert/any_of.hpp"
#include "moe/layer/moe_layer.hpp"

using namespace moe_test;

namespace {

using Dense = moe::TransformerBlock<float, moe::FfnLayer<float>>;
using Sparse = moe::TransformerBlock<float, moe::MoeLayer<float>, moe::AttentionMoe<float>,
                                     moe::LayerNorm<float>>;
using Stack = moe::BlockStack<float, Dense, Sparse>;

template <class L>
L check(L layer, int least_refused) {
  scramble(layer);
  L loaded = check_round_trip(layer);
  CHECK(output_of(loaded) == output_of(layer));
  CHECK(check_hostile(layer) > least_refused);
  return loaded;
}

Dense::Config dense_config() {
  return {.attention = {.model_dim = 4, .num_heads = 2, .rotary = moe::RotaryOptions{.base = 500}},
          .ffn = {.model_dim = 4, .hidden_dim = 3, .expert = {.bias = true}},
          .norm = {.epsilon = 1e-3}};
}

Sparse::Config sparse_config() {
  return {.attention = {.model_dim = 4,
                        .num_experts = 3,
                        .top_k = 2,
                        .head_dim = 2,
                        .heads_per_expert = 2,
                        .causal = false,
                        .router = {.bias = true},
                        .gate = {.scale = 1.5}},
          .ffn = {.model_dim = 4, .hidden_dim = 3, .num_experts = 3, .top_k = 1},
          .norm = {.bias = false}};
}

}  // namespace

TEST_CASE("attention comes back") {
  check(moe::Attention<float>({.model_dim = 6, .num_heads = 3, .bias = true}, 2), 60);
  check(moe::Attention<float>({.model_dim = 5,
                               .num_heads = 4,
                               .num_kv_heads = 2,
                               .head_dim = 6,
                               .causal = false,
                               .rotary = moe::RotaryOptions{.dims = 4, .interleaved = true}},
                              2),
        60);
}

TEST_CASE("a mixture of attention heads comes back, with the gate as it is now") {
  moe::AttentionMoe<float> layer(sparse_config().attention, 3);
  layer.gate().set_temperature(0.25);
  const auto loaded = check(std::move(layer), 100);
  CHECK(loaded.gate().options().temperature == 0.25);
}

TEST_CASE("a dense layer of one expert comes back") {
  check(moe::FfnLayer<float, moe::Ffn<float, moe::Relu>>({.model_dim = 3, .hidden_dim = 4}, 3), 20);
}

TEST_CASE("a residual comes back with its norm") {
  using L = moe::Residual<float, moe::MoeLayer<float>, moe::LayerNorm<float>>;
  check(L(moe::MoeLayer<float>({.model_dim = 3, .hidden_dim = 4, .num_experts = 2, .top_k = 1}),
          {.epsilon = 0.5, .bias = false}),
        100);
}

TEST_CASE("a block comes back, each of its norms with its own epsilon") {
  Dense block(dense_config(), 3);
  block.ffn_part().norm() = moe::RmsNorm<float>(4, {.epsilon = 0.5, .bias = true});
  const Dense loaded = check(std::move(block), 100);
  CHECK(loaded.attention_part().norm().epsilon() == 1e-3);
  CHECK(loaded.ffn_part().norm().epsilon() == 0.5);
}

TEST_CASE("a stack of blocks comes back") {
  Stack stack({.interleave = {.blocks = 4, .every = 2, .dense_first = 1},
               .dense = dense_config(),
               .sparse = sparse_config()},
              3);
  check(stack, 200);
  stack.dense()[1].attention_part().norm() = moe::RmsNorm<float>(4, {.epsilon = 0.25});
  const Stack loaded = check_round_trip(stack);
  CHECK(loaded.dense()[1].attention_part().norm().epsilon() == 0.25);
  CHECK(output_of(loaded) == output_of(stack));
  Stack sparse_only({.interleave = {.blocks = 2, .every = 1}, .sparse = sparse_config()}, 3);
  CHECK(check_round_trip(sparse_only).dense().empty());
}

TEST_CASE("a stack whose gates learnt each their own is loaded into one fresh from its program") {
  const auto fresh = [](double epsilon) {
    auto sparse = sparse_config();
    sparse.ffn.gate.selection_bias = {0, 0, 0};
    sparse.norm.epsilon = epsilon;
    return Stack({.interleave = {.blocks = 3, .every = 1}, .sparse = sparse}, 3);
  };
  const TemporaryFolder folder;
  Stack trained = fresh(1e-5), loaded = fresh(1e-5);
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
    auto& gate = trained.sparse()[i].ffn_part().layer().gate();
    gate.selection_bias()[i] = 0.5f;
    gate.set_temperature(0.5);
  }
  scramble(trained);
  moe::save_layer(folder / "trained", trained);
  moe::load_layer_into(folder / "trained", loaded);
  CHECK(everything(loaded) == everything(trained));
  CHECK(output_of(loaded) == output_of(trained));

  Stack first = fresh(1e-5);  // and the other way round
  moe::save_layer(folder / "first", first);
  moe::load_layer_into(folder / "first", loaded);
  CHECK(everything(loaded) == everything(first));

  Stack other = fresh(1e-3);
  CHECK_THAT(message_of<moe::FileError>([&] { moe::load_layer_into(folder / "trained", other); }),
             ContainsSubstring("layer.config.sparse.0.attention.norm.epsilon is 1"));
  Stack mixed({.interleave = {.blocks = 3, .every = 1, .dense_first = 1},
               .dense = dense_config(),
               .sparse = sparse_config()});
  CHECK_THAT(message_of<moe::FileError>([&] { moe::load_layer_into(folder / "trained", mixed); }),
             ContainsSubstring("layer.config.dense has 0 elements, expected 1"));
}

TEST_CASE("a block as an expert comes back") {
  using Expert = moe::TransformerExpert<float>;
  using L = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Expert>;
  check(
      L({.model_dim = 4,
         .hidden_dim = 3,
         .num_experts = 2,
         .top_k = 1,
         .expert = {.num_heads = 2, .bias = true, .ffn = {.bias = true}, .norm = {.epsilon = 0.1}}},
        3),
      100);
}
