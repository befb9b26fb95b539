// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// moe: Mixture-of-Experts layers. The includes below are the way of a token.
#pragma once

#include "moe/version.hpp"

// x [T, D] -> logits [T, E]: how well each expert fits each token
#include "moe/router/linear.hpp"

// logits -> Routing{expert [T, K], weight [T, K], scores [T, E]}: who is chosen, with what weight
#include "moe/gate/top_k.hpp"

// Routing -> Plan: capacity, drops, slots grouped by expert
#include "moe/plan/plan.hpp"

// x + Plan -> rows of each expert, and back: y [T, D] as the weighted sum
#include "moe/plan/combine.hpp"
#include "moe/plan/dispatch.hpp"

// rows -> rows: what an expert computes
#include "moe/expert/ffn.hpp"

// Routing + Plan -> a scalar and its gradients
#include "moe/loss/router_z.hpp"
#include "moe/loss/switch.hpp"

// all of the above as one layer
#include "moe/layer/moe_layer.hpp"
#include "moe/layer/packed_layer.hpp"

// learning
#include "moe/train/adamw.hpp"
#include "moe/train/clip.hpp"
#include "moe/train/schedule.hpp"
#include "moe/train/sgd.hpp"

// what happened
#include "moe/observe/stats.hpp"
