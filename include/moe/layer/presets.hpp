// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Published models by name: gates, capacities, losses and whole layers, set as published.
#pragma once

#include "moe/layer/presets/classic.hpp"
#include "moe/layer/presets/classic_layers.hpp"
#include "moe/layer/presets/kinds_layers.hpp"
#include "moe/layer/presets/latent_layers.hpp"
#include "moe/layer/presets/layers.hpp"
#include "moe/layer/presets/losses.hpp"
#include "moe/layer/presets/shared_layers.hpp"
#include "moe/layer/presets/sigmoid.hpp"
#include "moe/layer/presets/softmax.hpp"
#include "moe/layer/presets/variant.hpp"
