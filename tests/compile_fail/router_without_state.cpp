// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A router whose State cannot be named is no router.
// expect: the router needs State
#include <moe/layer/moe_layer.hpp>

struct Mine : moe::LinearRouter<float> {
  using moe::LinearRouter<float>::LinearRouter;
#if !MOE_SHOULD_COMPILE
 private:
  using State = void;
#endif
};

moe::MoeLayer<float, Mine> layer({.model_dim = 4, .hidden_dim = 4, .num_experts = 2, .top_k = 1});
