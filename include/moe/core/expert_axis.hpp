// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Which side of a parameter counts the experts, for what adds, removes and copies experts.
#pragma once

#include <cstdint>

#include "moe/version.hpp"

MOE_NAMESPACE_BEGIN

/// A router or gate whose number of experts may change says this of each of its parameters:
///   static ExpertAxis expert_axis(std::string_view name)
/// with the names of its visit_parameters. See moe/train/grow.hpp.
enum class ExpertAxis : std::uint8_t {
  none,     ///< has no part that belongs to one expert
  rows,     ///< [E, ...]: a row for each expert
  columns,  ///< [..., E]: a column for each expert
};

MOE_NAMESPACE_END
