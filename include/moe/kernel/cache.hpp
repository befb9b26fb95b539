// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Whether what a call writes is better written past the cache.
#pragma once

#include <cstdio>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Bytes of the last-level cache that this core uses, 32 MiB where the system does not say. Not
/// sysconf's number: on virtual machines that can be the sum over all cores of the host.
inline double cache_bytes() {
  static const double bytes = [] {
    double kilobytes = 32768;
    if (std::FILE* file = std::fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r")) {
      double known = 0;
      char unit = 0;
      if (std::fscanf(file, "%lf%c", &known, &unit) == 2 && unit == 'K' && known > 0) {
        kilobytes = known;
      }
      std::fclose(file);
    }
    return kilobytes * 1024;
  }();
  return bytes;
}

/// True when a call reads and writes more than half the cache: the weights that are read next leave
/// little of it there, and fetching a line only to overwrite it costs a third of the bandwidth.
inline bool overflows_cache(double bytes) { return 2 * bytes > cache_bytes(); }

}  // namespace detail
MOE_NAMESPACE_END
