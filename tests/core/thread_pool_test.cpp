// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/core/thread_pool.hpp"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace moe_test {
namespace {

using moe::Index;

static_assert(moe::Executor<moe::ThreadPool>);

/// True when run() calls each index once and returns after all of them.
bool runs_all(moe::ThreadPool& pool) {
  std::vector<int> calls(static_cast<std::size_t>(pool.size()), 0);  // not atomic: run() must order
  pool.run([&](Index i) { ++calls[static_cast<std::size_t>(i)]; });
  return calls == std::vector<int>(calls.size(), 1);
}

}  // namespace

TEST_CASE("a thread pool runs every index once, call after call", "[core]") {
  for (const Index size : {1, 2, 3, 7}) {
    moe::ThreadPool pool(size);
    CHECK(pool.size() == size);
    bool all = true;
    for (int round = 0; round < 1000; ++round) all = all && runs_all(pool);
    CHECK(all);
  }
}

TEST_CASE("a thread pool waits for whoever is late, awake or asleep", "[core]") {
  using std::chrono::milliseconds;
  moe::ThreadPool pool(3);
  for (const Index late : {0, 1, 2}) {
    for (const int pause : {0, 1, 20}) {  // milliseconds: the caller spins for less
      std::atomic<int> done{0};
      pool.run([&](Index i) {
        if (i == late) std::this_thread::sleep_for(milliseconds(pause));
        ++done;
      });
      CHECK(done == 3);
      std::this_thread::sleep_for(milliseconds(pause));  // now the workers sleep
    }
  }
}

TEST_CASE("a thread pool may be moved, and end right after a call", "[core]") {
  for (int round = 0; round < 50; ++round) {
    moe::ThreadPool pool(2);
    CHECK(runs_all(pool));
    moe::ThreadPool moved = std::move(pool);
    CHECK(moved.size() == 2);
    CHECK(runs_all(moved));
    // What was moved from falls back to the caller's thread.
    CHECK(pool.size() == 1);  // NOLINT(bugprone-use-after-move)
    CHECK(runs_all(pool));
  }
}

}  // namespace moe_test
