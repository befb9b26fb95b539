// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Blocks allocate nothing once they have seen their largest call.
#include "support/allocations.hpp"

#include "block/block_checks.hpp"
#include "moe/block/attention_moe.hpp"
#include "moe/block/ffn_layer.hpp"
#include "moe/block/stack.hpp"
#include "moe/block/transformer_block.hpp"

#if MOE_TEST_COUNTS_ALLOCATIONS
namespace moe_test {
namespace {

using Attention = moe::Attention<float>;
using Heads = moe::AttentionMoe<float>;
using Dense = moe::TransformerBlock<float, moe::FfnLayer<float>>;
using Sparse = moe::TransformerBlock<float, moe::MoeLayer<float>, Heads>;
using Stack = moe::BlockStack<float, Dense, Sparse>;

Stack make_stack() {
  return Stack(
      {.interleave = {.blocks = 3},
       .dense = {.attention = {.model_dim = 12, .num_heads = 3, .rotary = moe::RotaryOptions{}},
                 .ffn = {.model_dim = 12, .hidden_dim = 9}},
       .sparse = {.attention = {.model_dim = 12, .num_experts = 4, .top_k = 2, .head_dim = 6},
                  .ffn = {.model_dim = 12, .hidden_dim = 9, .num_experts = 5, .top_k = 2}}},
      3);
}

/// Allocations of an inference and a training step.
template <class L>
struct Calls {
  L& layer;
  Matrix<float> x, y, dx;
  typename L::Workspace workspace;
  typename L::Tape tape;

  Calls(L& of, Index tokens, moe::ExecutorRef threads)
      : layer(of),
        x(random_matrix<float>(tokens, of.model_dim(), 1)),
        y(tokens, of.model_dim()),
        dx(tokens, of.model_dim()),
        workspace(threads),
        tape(threads) {}

  long operator()(const Rows& rows) {
    const Index t = rows.tokens();
    const moe::Batch batch = rows.batch();
    return allocations_in([&] {
      layer.forward(x.topRows(t), y.topRows(t), workspace, batch);
      layer.forward(x.topRows(t), y.topRows(t), tape, batch);
      if constexpr (moe::RoutedLayer<L, float>) tape.add_loss(moe::SwitchLoss{});
      layer.backward(x.topRows(t), dx.topRows(t), tape);
    });
  }
};

template <class L>
void check_allocations(L layer) {
  for (const Index size : {1, 3}) {
    INFO(size << " threads");
    Threads threads(size);
    Calls<L> calls(layer, 150, threads);
    CHECK(calls(padded({70, 80}, 1)) > 0);
    CHECK(calls({{70, 80}}) == 0);
    CHECK(calls(padded({70, 80}, 2)) == 0);
    CHECK(calls(padded({80, 1, 2, 3, 0, 64}, 3)) == 0);  // more and shorter sequences
    CHECK(calls({{80}}) == 0);
    CHECK(calls({{5}}) == 0);
    CHECK(calls({}) == 0);
    CHECK(calls(padded({70, 80}, 4)) == 0);
  }
}

}  // namespace

TEST_CASE("a mixture of heads allocates nothing for an expert that gets more of the rows",
          "[block][allocation]") {
  struct Sizes {
    Index d, width;
  };
  for (const Index size : {1, 3}) {
    for (const Sizes n : {Sizes{120, 2}, {12, 60}}) {
      INFO(size << " threads, " << n.d << " to " << n.width);
      Threads threads(size);
      Heads layer({.model_dim = n.d, .num_experts = 8, .top_k = 1, .head_dim = n.width}, 3);
      Calls<Heads> calls(layer, 1500, threads);
      const Rows rows{Lengths(15, 100)};
      CHECK(calls(rows) > 0);
      calls.x.rowwise() = Eigen::RowVectorXf(calls.x.row(0));
      CHECK(calls(rows) == 0);
    }
  }
}

TEST_CASE("the second and later calls of a block allocate nothing", "[block][allocation]") {
  check_allocations(Attention({.model_dim = 12,
                               .num_heads = 6,
                               .num_kv_heads = 2,
                               .causal = false,
                               .rotary = moe::RotaryOptions{}}));
  check_allocations(Heads({.model_dim = 12,
                           .num_experts = 4,
                           .top_k = 2,
                           .head_dim = 6,
                           .heads_per_expert = 2,
                           .rotary = moe::RotaryOptions{}}));
  check_allocations(make_stack());
}

}  // namespace moe_test
#endif
