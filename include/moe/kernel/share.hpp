// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// How work is divided among threads. No result depends on it: an output is computed by one thread.
#pragma once

#include <algorithm>

#include "moe/core/executor.hpp"
#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

struct Range {
  Index begin = 0;
  Index end = 0;
};

/// The i-th of n nearly equal parts of [0, count), borders at multiples of `unit`.
inline Range part_of(Index count, Index i, Index n, Index unit = 1) {
  const Index units = (count + unit - 1) / unit;
  return {std::min(count, units * i / n * unit), std::min(count, units * (i + 1) / n * unit)};
}

/// Divides a list of jobs, each `pieces` pieces of equal `cost`, into n contiguous shares of equal
/// cost. Every thread walks the whole list and asks which pieces are its own.
class CostShare {
 public:
  CostShare(Index total, Index i, Index n) : low_(total * i / n), high_(total * (i + 1) / n) {}

  Range next(Index pieces, Index cost) {
    const auto before = [&](Index bound) {
      return std::clamp<Index>((bound - done_ + cost - 1) / cost, 0, pieces);
    };
    const Range mine{before(low_), before(high_)};
    done_ += pieces * cost;
    return mine;
  }

 private:
  Index low_;
  Index high_;
  Index done_ = 0;
};

/// Threads worth waking for about `work` multiply-adds.
inline Index useful_threads(const ExecutorRef& executor, double work) {
  constexpr double kPerThread = 2e5;  // some 5 microseconds, a few times what waking a thread costs
  return work < 2 * kPerThread ? 1 : executor.size();
}

/// f(i, n) for each i < n; on the calling thread alone when n is 1.
template <class F>
void run_threads(const ExecutorRef& executor, Index n, F&& f) {
  if (n <= 1) {
    f(Index{0}, Index{1});
    return;
  }
  executor.run([&](Index i) { f(i, n); });
}

}  // namespace detail
MOE_NAMESPACE_END
