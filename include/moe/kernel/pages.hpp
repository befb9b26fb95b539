// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Large pages for packed weights: decoding streams all of them, and address translation would cost it a
// fifth to a third of the bandwidth.
#pragma once

#include "moe/core/buffer.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

MOE_NAMESPACE_BEGIN
namespace detail {

/// Gives a fresh buffer `count` values, and asks the system to back a large one with large pages. Only a
/// request: where it is refused nothing else changes. Takes effect only on pages not yet touched.
template <class S>
void resize_for_streaming(Buffer<S>& buffer, Index count) {
  buffer.resize(count);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kSmall = 4096;
  constexpr std::size_t kWorthwhile = std::size_t{4} << 20;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(S);
  if (bytes < kWorthwhile) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(buffer.data());
  const std::uintptr_t first = (begin + kSmall - 1) / kSmall * kSmall;
  static_cast<void>(madvise(reinterpret_cast<void*>(first),
                            (begin + bytes - first) / kSmall * kSmall, MADV_HUGEPAGE));
#endif
}

}  // namespace detail
MOE_NAMESPACE_END
