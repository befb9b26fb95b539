// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The configuration of a layer, as JSON and back: what load_layer makes a layer from.
//
// Parts of your own take part when they are made as ours are, from (Dims, Options, Random&) or, a
// gate, from (Dims, Options): with options() const, which returns the options as they are now, and in
// Options a member visit(f) that calls f("name", field) for each field. Fields are numbers, bools,
// enumerations, optionals and vectors of these, and structures with a visit. Without options nothing is
// needed. An expert whose constructor asks for Dims::hidden_dim says it: hidden_dim() const. For other
// layers of your own specialise moe::detail::Blueprint, or make them in the program and use
// load_layer_into.
#pragma once

#include "moe/io/config/blocks.hpp"
#include "moe/io/config/layers.hpp"
