// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The configuration of layers, as JSON and back: what load_layer makes a layer from. Parts of your own
// that are made as ours, from (Dims, Options, Random&) or, gates, (Dims, Options), need options() const,
// the options as they are now, and in Options a member visit(f) that calls f("name", field) for each
// field: numbers, bools, texts, enumerations, optionals and vectors of them, structures with a visit.
// Without Options they need nothing. An expert that asks for Dims::hidden_dim has hidden_dim() const.
#pragma once

#include "moe/io/config/blocks.hpp"
#include "moe/io/config/layers.hpp"
