// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The simplest executor with real threads: as many as it is told, whatever the machine has.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "moe/core/executor.hpp"

namespace moe_test {

/// `size` threads, the caller's among them, that live as long as the object.
class Threads {
 public:
  explicit Threads(moe::Index size) : size_(size) {
    for (moe::Index i = 1; i < size; ++i) workers_.emplace_back([this, i] { work(i); });
    run([](moe::Index) {});  // all have started, and allocate no more of their own
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    start_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  moe::Index size() const { return size_; }

  template <class F>
  void run(F&& f) {
    {
      const std::lock_guard lock(mutex_);
      task_ = std::ref(f);
      left_ = size_ - 1;
      ++round_;
    }
    start_.notify_all();
    f(moe::Index{0});
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  void work(moe::Index i) {
    std::unique_lock lock(mutex_);
    for (long seen = 0;;) {
      start_.wait(lock, [&] { return ending_ || round_ != seen; });
      if (ending_) return;
      seen = round_;
      lock.unlock();
      task_(i);
      lock.lock();
      if (--left_ == 0) done_.notify_one();
    }
  }

  moe::Index size_;
  moe::Index left_ = 0;
  long round_ = 0;
  bool ending_ = false;
  std::function<void(moe::Index)> task_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  std::vector<std::thread> workers_;
};

}  // namespace moe_test
