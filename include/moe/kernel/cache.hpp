// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Whether what a call writes is better written past the cache.
#pragma once

#if defined(__unix__)
#include <unistd.h>
#endif

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Bytes of the last-level cache, 32 MiB where the system does not say.
inline double cache_bytes() {
  static const double bytes = [] {
#if defined(_SC_LEVEL3_CACHE_SIZE)
    const long known = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (known > 0) return static_cast<double>(known);
#endif
    return 33554432.0;
  }();
  return bytes;
}

/// True when a call that reads and writes `bytes` overflows the cache: nothing it writes will still
/// be there, and fetching a line only to overwrite it costs a third of the bandwidth.
inline bool overflows_cache(double bytes) { return bytes > cache_bytes(); }

}  // namespace detail
MOE_NAMESPACE_END
