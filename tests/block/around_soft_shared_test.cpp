// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Transformer blocks around soft layers and layers with a shared expert: gradients, and sequences apart.
#include "block/around.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"

namespace moe_test {

TEST_CASE("a block goes around a soft layer, which mixes each sequence", "[block][gradient]") {
  check_block_around<moe::SoftLayer<double>>(
      {.model_dim = 6, .hidden_dim = 5, .num_experts = 3, .slots = 2});
}

TEST_CASE("a block goes around a sparse layer with a shared expert", "[block][gradient]") {
  check_block_around<moe::SharedLayer<moe::MoeLayer<double>>>(
      {.layer = {.model_dim = 6, .hidden_dim = 5, .num_experts = 4, .top_k = 2},
       .hidden_dim = 4,
       .gate = true});
}

}  // namespace moe_test
