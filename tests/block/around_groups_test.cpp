// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Transformer blocks around hierarchical and dense layers: gradients, and sequences apart.
#include "block/around.hpp"
#include "moe/layer/dense_layer.hpp"
#include "moe/layer/hierarchical_layer.hpp"

namespace moe_test {

TEST_CASE("a block goes around a hierarchical layer", "[block][gradient]") {
  check_block_around<moe::HierarchicalLayer<double>>(
      {.model_dim = 6,
       .num_groups = 3,
       .top_k = 2,
       .group = {.model_dim = 6, .hidden_dim = 5, .num_experts = 3, .top_k = 1}});
}

TEST_CASE("a block goes around a dense mixture", "[block][gradient]") {
  check_block_around<moe::DenseLayer<double>>({.model_dim = 6, .hidden_dim = 5, .num_experts = 3});
}

}  // namespace moe_test
