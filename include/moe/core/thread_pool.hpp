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
#include <memory>
#include <thread>

#include "moe/core/error.hpp"
#include "moe/core/executor.hpp"

MOE_NAMESPACE_BEGIN

/// `size()` threads, the caller's among them. Workers spin briefly for the next call, then sleep. One
/// run() at a time: a pool shared by several callers needs a lock around their calls, or a pool each.
class ThreadPool {
 public:
  /// Throws std::invalid_argument unless threads is at least 1. Default: one per hardware thread.
  explicit ThreadPool(Index threads = hardware_threads()) : size_(threads) {
    detail::check_positive("moe::ThreadPool", "threads", threads);
    if (threads > 1) workers_ = std::make_unique<Eigen::ThreadPool>(static_cast<int>(threads - 1));
  }

  static Index hardware_threads() {
    return std::max<Index>(1, static_cast<Index>(std::thread::hardware_concurrency()));
  }

  Index size() const { return size_; }

  /// Calls f(i) for each i in [0, size()), f(0) on the calling thread, and returns when all are done.
  template <class F>
  void run(F&& f) {
    if (!workers_) return f(Index{0});
    Eigen::Barrier done(static_cast<unsigned>(size_ - 1));
    struct Call {
      std::remove_reference_t<F>* function;
      Eigen::Barrier* done;
    } call{std::addressof(f), &done};
    for (Index i = 1; i < size_; ++i) {
      // Two words: std::function keeps them in place, so a call allocates nothing.
      workers_->Schedule([c = &call, i] {
        (*c->function)(i);
        c->done->Notify();
      });
    }
    f(Index{0});
    done.Wait();
  }

 private:
  Index size_;
  std::unique_ptr<Eigen::ThreadPool> workers_;
};

MOE_NAMESPACE_END
