// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The default executor: Eigen's thread pool behind the Executor concept. Included by users who want
// threads; the rest of the library needs none.
#pragma once

#if __has_include(<Eigen/ThreadPool>)
#include <Eigen/ThreadPool>
#else
#include <unsupported/Eigen/CXX11/ThreadPool>
#endif
#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include "moe/core/error.hpp"
#include "moe/core/executor.hpp"

MOE_NAMESPACE_BEGIN

/// `size()` threads, the caller's among them. Workers spin briefly for the next call, and the caller
/// for the last worker, then they sleep. One run() at a time: a pool shared by several callers needs a
/// lock around their calls, or a pool each.
class ThreadPool {
 public:
  /// Throws std::invalid_argument unless threads is at least 1. Default: one per hardware thread.
  explicit ThreadPool(Index threads = hardware_threads()) {
    detail::check_positive("moe::ThreadPool", "threads", threads);
    if (threads > 1) workers_ = std::make_unique<Workers>(static_cast<int>(threads - 1));
  }

  static Index hardware_threads() {
    return std::max<Index>(1, static_cast<Index>(std::thread::hardware_concurrency()));
  }

  Index size() const { return workers_ ? workers_->count + 1 : 1; }

  /// Calls f(i) for each i in [0, size()), f(0) on the calling thread, and returns when all are done. Not
  /// from within f, which must not throw either.
  template <class F>
  void run(F&& f) {
    if (!workers_) return f(Index{0});
    struct Call {
      std::remove_reference_t<F>* function;
      std::atomic<int>* left;
    } call{std::addressof(f), &workers_->left};
    MOE_ASSERT(workers_->left.load() == 0);
    workers_->left.store(workers_->count, std::memory_order_relaxed);
    for (Index i = 1; i <= workers_->count; ++i) {
      // Two words: std::function keeps them in place, so a call allocates nothing.
      workers_->pool.Schedule([c = &call, i] {
        std::atomic<int>& left = *c->left;  // `call` is gone as soon as the last worker counts down
        (*c->function)(i);
        if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) left.notify_one();
      });
    }
    f(Index{0});
    workers_->wait();
  }

 private:
  struct Workers {
    explicit Workers(int threads) : count(threads), pool(threads) {}

    /// Shares of a call end at nearly the same time: sleeping and being woken takes longer than the rest
    /// of most.
    void wait() {
      constexpr int kSpins = 2000;  // 20 to 80 microseconds on x86
      for (int i = 0; i < kSpins; ++i) {
        if (left.load(std::memory_order_acquire) == 0) return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
      }
      for (int n; (n = left.load(std::memory_order_acquire)) != 0;) left.wait(n);
    }

    const int count;
    alignas(64) std::atomic<int> left{0};  ///< workers that have not returned from the present call
    alignas(64) Eigen::ThreadPool pool;    ///< last: its threads end before `left` does
  };

  std::unique_ptr<Workers> workers_;
};

MOE_NAMESPACE_END
