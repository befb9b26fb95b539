// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The groups of a hierarchical layer are layers, not experts.
// expect: a layer needs Workspace and Tape
#include <moe/layer/hierarchical_layer.hpp>

#if MOE_SHOULD_COMPILE
using Group = moe::MoeLayer<float>;
#else
using Group = moe::GatedFfn<float>;
#endif

moe::Index groups(const moe::HierarchicalLayer<float, Group>& layer) { return layer.num_groups(); }
