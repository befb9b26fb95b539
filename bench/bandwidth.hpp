// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The limit of memory, measured in this process: bytes per second read, with nothing written.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <stdexcept>

#include "peaks.hpp"

namespace bench {

/// Memory in large pages where the system grants them on request, every page present.
class LargeBuffer {
 public:
  explicit LargeBuffer(std::size_t bytes) {
    constexpr std::size_t kPage = std::size_t{2} << 20;
    const std::size_t rounded = (bytes + kPage - 1) / kPage * kPage;
    data_.reset(static_cast<std::uint64_t*>(std::aligned_alloc(kPage, rounded)));
    if (!data_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    madvise(data_.get(), rounded, MADV_HUGEPAGE);
#endif
    words_ = static_cast<Index>(rounded / sizeof(std::uint64_t));
    std::fill_n(data_.get(), words_, 1u);
  }
  std::uint64_t* data() { return data_.get(); }
  Index words() const { return words_; }

 private:
  struct Free {
    void operator()(std::uint64_t* p) const { std::free(p); }
  };
  std::unique_ptr<std::uint64_t, Free> data_;
  Index words_ = 0;
};

/// Sum of `words` values in `Streams` runs read side by side, one cache line of each in turn,
/// `Ahead` lines prefetched.
template <int Streams, int Ahead>
std::uint64_t sum_streams(const std::uint64_t* data, Index words) {
  constexpr Index kLine = 8;
  const Index run = words / Streams / kLine * kLine;
  std::uint64_t sum[kLine] = {};
  for (Index i = 0; i < run; i += kLine) {
    for (int stream = 0; stream < Streams; ++stream) {
      const std::uint64_t* line = data + stream * run + i;
      if (Ahead > 0) __builtin_prefetch(line + Ahead * kLine);
      for (Index j = 0; j < kLine; ++j) sum[j] += line[j];
    }
  }
  std::uint64_t total = 0;
  for (const std::uint64_t s : sum) total += s;
  return total;
}

/// Bytes per second that `threads` threads read from a buffer of more than four times the
/// last-level cache, each its own part; the best of several numbers of streams.
inline double read_bandwidth(int threads) {
  static std::map<int, double> known;
  double& bandwidth = known[threads];
  if (bandwidth == 0) {
    LargeBuffer buffer(std::max<std::size_t>(5 * last_level_cache_bytes(), std::size_t{256} << 20));
    const Index part = buffer.words() / threads;
    const double bytes = static_cast<double>(part * threads) * sizeof(std::uint64_t);
    const auto measure = [&](auto* sum) {
      bandwidth = std::max(bandwidth, best_rate(threads, 5, bytes, [&](Index thread) {
                             [[maybe_unused]] volatile std::uint64_t keep =
                                 sum(buffer.data() + thread * part, part);
                           }));
    };
    measure(sum_streams<1, 0>);
    measure(sum_streams<2, 0>);
    measure(sum_streams<4, 0>);
    measure(sum_streams<1, 64>);
    measure(sum_streams<4, 16>);
    measure(sum_streams<8, 16>);
  }
  return bandwidth;
}

}  // namespace bench
