// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// moe: Mixture-of-Experts layers. The includes below are the way of a token.
#pragma once

#include "moe/version.hpp"

// x [T, D] -> logits [T, E]: how well each expert fits each token
#include "moe/router/cosine.hpp"
#include "moe/router/hash.hpp"
#include "moe/router/input_jitter.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/router/linear.hpp"
#include "moe/router/logit_cap.hpp"
#include "moe/router/logit_noise.hpp"
#include "moe/router/mlp.hpp"
#include "moe/router/packed_linear.hpp"
#include "moe/router/uniform.hpp"

// logits -> Routing{expert [T, K], weight [T, K], scores [T, E]}: who is chosen, with what weight
#include "moe/gate/adaptive_experts.hpp"
#include "moe/gate/auction.hpp"
#include "moe/gate/dense.hpp"
#include "moe/gate/expert_choice.hpp"
#include "moe/gate/gshard.hpp"
#include "moe/gate/min_p.hpp"
#include "moe/gate/quantile.hpp"
#include "moe/gate/relu.hpp"
#include "moe/gate/sinkhorn.hpp"
#include "moe/gate/sparse_mixer.hpp"
#include "moe/gate/top_any.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/gate/top_p.hpp"

// Routing -> Plan: capacity, drops, slots grouped by expert
#include "moe/plan/plan.hpp"

// x + Plan -> rows of each expert, and back: y [T, D] as the weighted sum
#include "moe/plan/combine.hpp"
#include "moe/plan/dispatch.hpp"

// rows -> rows: what an expert computes
#include "moe/expert/any_of.hpp"
#include "moe/expert/constant.hpp"
#include "moe/expert/ffn.hpp"
#include "moe/expert/identity.hpp"
#include "moe/expert/zero.hpp"

// Routing + Plan -> a scalar and its gradients
#include "moe/loss/bias_update.hpp"
#include "moe/loss/communication_balance.hpp"
#include "moe/loss/device_balance.hpp"
#include "moe/loss/diversity.hpp"
#include "moe/loss/dyn_moe.hpp"
#include "moe/loss/expert_selection.hpp"
#include "moe/loss/global_balance.hpp"
#include "moe/loss/global_entropy.hpp"
#include "moe/loss/gshard.hpp"
#include "moe/loss/importance.hpp"
#include "moe/loss/kl_uniform.hpp"
#include "moe/loss/load.hpp"
#include "moe/loss/local_entropy.hpp"
#include "moe/loss/relu_l1.hpp"
#include "moe/loss/router_z.hpp"
#include "moe/loss/second_place.hpp"
#include "moe/loss/sequence_balance.hpp"
#include "moe/loss/supervised_routing.hpp"
#include "moe/loss/switch.hpp"
#include "moe/loss/weighted_balance.hpp"

// all of the above as one layer
#include "moe/layer/concat.hpp"
#include "moe/layer/dense_layer.hpp"
#include "moe/layer/hierarchical_layer.hpp"
#include "moe/layer/hierarchical_losses.hpp"
#include "moe/layer/latent.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/layer_expert.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/layer/packed_concat.hpp"
#include "moe/layer/packed_dense.hpp"
#include "moe/layer/packed_latent.hpp"
#include "moe/layer/packed_layer.hpp"
#include "moe/layer/packed_shared.hpp"
#include "moe/layer/presets.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"

// layers in a row: y = x + attention(norm(x)), y + ffn(norm(y))
#include "moe/block/attention.hpp"
#include "moe/block/attention_moe.hpp"
#include "moe/block/ffn_layer.hpp"
#include "moe/block/norm.hpp"
#include "moe/block/residual.hpp"
#include "moe/block/stack.hpp"
#include "moe/block/transformer_block.hpp"
#include "moe/block/transformer_expert.hpp"

// learning
#include "moe/train/adamw.hpp"
#include "moe/train/clip.hpp"
#include "moe/train/freeze.hpp"
#include "moe/train/grow.hpp"
#include "moe/train/lora.hpp"
#include "moe/train/output_error.hpp"
#include "moe/train/router_supervision.hpp"
#include "moe/train/schedule.hpp"
#include "moe/train/sgd.hpp"
#include "moe/train/upcycle.hpp"

// what happened
#include "moe/observe/layer_stats.hpp"
#include "moe/observe/stats.hpp"
