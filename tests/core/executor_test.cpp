// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/core/executor.hpp"

#include <atomic>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace moe_test {

static_assert(moe::Executor<moe::SerialExecutor>);
static_assert(moe::Executor<Threads>);

TEST_CASE("without an executor the caller's thread does it all", "[core]") {
  const moe::ExecutorRef executor;
  CHECK(executor.size() == 1);
  std::vector<moe::Index> calls;
  executor.run([&](moe::Index i) { calls.push_back(i); });
  CHECK(calls == std::vector<moe::Index>{0});
}

TEST_CASE("an executor reference runs every index once, on threads of the caller's", "[core]") {
  for (const moe::Index size : {1, 2, 3, 7}) {
    Threads threads(size);
    const moe::ExecutorRef executor(threads), copy = executor;
    CHECK(copy.size() == size);
    for (int round = 0; round < 20; ++round) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(size));
      std::atomic<moe::Index> arrived{0};
      copy.run([&](moe::Index i) {
        ++calls[static_cast<std::size_t>(i)];
        ++arrived;
        while (arrived < size) std::this_thread::yield();  // all run at the same time
      });
      for (const auto& count : calls) CHECK(count == 1);
    }
  }
}

}  // namespace moe_test
