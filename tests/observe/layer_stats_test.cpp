// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/observe/layer_stats.hpp"

#include "layer/hierarchical_cases.hpp"
#include "moe/block/residual.hpp"
#include "moe/layer/soft_layer.hpp"

namespace moe_test {

TEST_CASE("statistics of two levels are those of the groups and of each group's rows",
          "[observe][hierarchical]") {
  const auto layer = make_levels<TwoLevels<float>>({.groups = 3, .k = 2, .experts = 4});
  const Matrix<float> x = random_matrix<float>(20, 5, 1);
  Matrix<float> y(20, 5);
  TwoLevels<float>::Workspace workspace;
  TwoLevels<float>::Tape tape;
  moe::LayerStats stats, trained;
  layer.forward(x, y, workspace);
  layer.forward(x, y, tape);
  layer_stats(workspace, stats);
  layer_stats(tape, trained);
  REQUIRE(stats.groups.size() == 3);
  Index rows = 0, leaves = 0;
  for (std::size_t g = 0; g < 3; ++g) {
    Index inside = 0;
    for (const Index n : stats.groups[g].routing.tokens_per_expert) inside += n;
    CHECK(inside == 2 * stats.routing.tokens_per_expert[g]);
    rows += stats.routing.tokens_per_expert[g];
    CHECK(trained.groups[g].routing.tokens_per_expert == stats.groups[g].routing.tokens_per_expert);
  }
  CHECK(rows == 40);
  stats.for_leaves([&](const std::vector<Index>& path, const moe::LayerStats& leaf) {
    CHECK(path == std::vector<Index>{leaves++});
    CHECK(leaf.routing.tokens_per_expert.size() == 4);
  });
  CHECK(leaves == 3);
  // A group without a row: nothing there, and nothing left from before.
  layer.forward(x.topRows(1), y.topRows(1), workspace);
  layer_stats(workspace, stats);
  Index idle = 0;
  for (const moe::LayerStats& group : stats.groups) {
    Index inside = 0;
    for (const Index n : group.routing.tokens_per_expert) inside += n;
    idle += inside == 0;
  }
  CHECK(idle == 1);
}

TEST_CASE("statistics of a residual layer are those of the layer inside", "[observe][block]") {
  using Moe = moe::MoeLayer<float>;
  const moe::Residual<float, Moe> block{
      Moe({.model_dim = 5, .hidden_dim = 4, .num_experts = 3, .top_k = 2}, 1)};
  const Matrix<float> x = random_matrix<float>(9, 5, 1);
  Matrix<float> y(9, 5);
  moe::Residual<float, Moe>::Workspace workspace;
  block.forward(x, y, workspace);
  moe::LayerStats stats, inside;
  layer_stats(workspace, stats);
  layer_stats(workspace.layer, inside);
  CHECK(stats.routing.tokens_per_expert == inside.routing.tokens_per_expert);
  CHECK(stats.routing.entropy == inside.routing.entropy);
  CHECK(stats.routing.entropy > 0);
}

TEST_CASE("statistics of a soft layer by hand", "[observe][soft]") {
  moe::SoftMix<double> mix;
  const std::vector<Index> lengths = {2, 1};
  mix.sequences.find(3, {.sequence_lengths = lengths});
  Matrix<double> logits(3, 2);  // two experts, a slot each
  logits << 0, 0, 0, std::log(3.0), 0, 0;
  mix.weights.fill(mix.sequences, MatrixView<const double>(logits), {});
  moe::SoftStats stats;
  soft_stats(mix, 2, stats);
  // combine: (1/2, 1/2), (1/4, 3/4), (1/2, 1/2); dispatch of the first sequence: (1/2, 1/2) for slot
  // 0, (1/4, 3/4) for slot 1; of the second, one token: 1.
  const double quarter = -(0.25 * std::log(0.25) + 0.75 * std::log(0.75)), half = std::log(2.0);
  CHECK(stats.expert_share[0] == Approx(1.25 / 3));
  CHECK(stats.expert_share[1] == Approx(1.75 / 3));
  CHECK(stats.combine_entropy == Approx((2 * half + quarter) / 3));
  CHECK(stats.combine_max == Approx((0.5 + 0.75 + 0.5) / 3));
  CHECK(stats.dispatch_entropy == Approx((1 + quarter / half + 1 + 1) / 4));
  CHECK(stats.dispatch_max == Approx((0.5 + 0.75 + 1 + 1) / 4));
}

TEST_CASE("statistics of a soft layer sum to one, and are zero without a token",
          "[observe][soft]") {
  const moe::SoftLayer<float> layer({.model_dim = 5, .hidden_dim = 4, .num_experts = 3, .slots = 2},
                                    1);
  const Matrix<float> x = random_matrix<float>(9, 5, 1);
  Matrix<float> y(9, 5);
  moe::SoftLayer<float>::Workspace workspace;
  moe::LayerStats stats;
  stats.soft.combine_max = 1;
  layer_stats(workspace, stats);  // before a forward
  CHECK(stats.soft.expert_share.empty());
  CHECK(stats.soft.combine_max == 0);
  layer.forward(x, y, workspace);
  layer_stats(workspace, stats);
  CHECK(stats.soft.expert_share[0] + stats.soft.expert_share[1] + stats.soft.expert_share[2] ==
        Approx(1));
  CHECK(stats.soft.dispatch_entropy > 0.9);  // little is decided before training
  CHECK(stats.groups.empty());
  layer.forward(x.topRows(0), y.topRows(0), workspace);
  layer_stats(workspace, stats);
  CHECK(stats.soft.expert_share == std::vector<double>(3, 0.0));
  CHECK(stats.soft.dispatch_entropy == 0);

  for (const Index experts : {-1, 0, 4, 7}) {
    CHECK(sentence_of([&] { soft_stats(workspace.mix, experts, stats.soft); }) ==
          "moe::soft_stats: experts is " + std::to_string(experts) +
              ", expected a divisor of the 6 slots");
  }
}

}  // namespace moe_test
