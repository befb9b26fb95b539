// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Soft groups choose nothing, so there is nothing to balance inside them.
// expect: add_group_losses needs groups that have a router
#include <moe/layer/hierarchical_layer.hpp>
#include <moe/layer/soft_layer.hpp>
#include <moe/loss/switch.hpp>

#if MOE_SHOULD_COMPILE
using Group = moe::MoeLayer<float>;
#else
using Group = moe::SoftLayer<float>;
#endif

float add(moe::HierarchicalLayer<float, Group>::Tape& tape) {
  return tape.add_group_losses(moe::SwitchLoss{});
}
