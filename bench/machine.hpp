// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a result is worth nothing without: CPU, caches, compiler.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <string>

namespace bench {

inline std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Bytes of the last-level cache: sysfs, else sysconf, else a guess that is large enough for most.
inline std::size_t last_level_cache_bytes() {
  std::size_t largest = 0;
  for (int i = 0; i < 8; ++i) {
    const std::string size =
        first_line("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/size");
    if (size.empty()) continue;
    const std::size_t unit = size.back() == 'M' ? 1u << 20 : size.back() == 'K' ? 1u << 10 : 1u;
    largest = std::max(largest, static_cast<std::size_t>(std::stoul(size)) * unit);
  }
#ifdef _SC_LEVEL3_CACHE_SIZE
  if (largest == 0) {
    const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (bytes > 0) largest = static_cast<std::size_t>(bytes);
  }
#endif
  return largest != 0 ? largest : std::size_t{64} << 20;
}

inline std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

inline std::string compiler_name() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#else
  return "unknown";
#endif
}

}  // namespace bench
