// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Threads: what a layer needs of them, and a reference to whatever the caller has.
#pragma once

#include <algorithm>
#include <concepts>
#include <memory>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN

/// Something that runs a function on several threads: `size()` threads, and `run(f)` that calls
/// `f(i)` exactly once for each i in [0, size()), possibly at the same time, and returns when all
/// calls have returned. Every `f(i)` must be able to make progress while the others wait in it.
template <class X>
concept Executor = requires(X& x, void (*f)(Index)) {
  { x.size() } -> std::convertible_to<Index>;
  x.run(f);
};

/// One thread: the caller's.
struct SerialExecutor {
  Index size() const { return 1; }
  template <class F>
  void run(F&& f) {
    f(Index{0});
  }
};

/// Reference to any Executor; two words plus a size, copied freely, does not own. Default: serial.
class ExecutorRef {
 public:
  ExecutorRef() = default;

  template <Executor X>
  requires(!std::same_as<std::remove_cvref_t<X>, ExecutorRef>)
      ExecutorRef(X& executor)  // NOLINT(google-explicit-constructor)
      : object_(std::addressof(executor)),
        size_(std::max<Index>(1, static_cast<Index>(executor.size()))),  // none: the caller's
        run_([](void* object, Task task) { static_cast<X*>(object)->run(task); }) {}

  Index size() const { return size_; }

  /// Calls f(i) for each i in [0, size()); returns when all have returned. f must not throw.
  template <class F>
  void run(F&& f) const {
    using Fn = std::remove_reference_t<F>;
    if (run_ == nullptr || size_ <= 1) {
      for (Index i = 0; i < size_; ++i) f(i);
      return;
    }
    run_(object_, Task{const_cast<void*>(static_cast<const void*>(std::addressof(f))),
                       [](void* fn, Index i) { (*static_cast<Fn*>(fn))(i); }});
  }

 private:
  /// A function reference that any executor can copy to its threads.
  struct Task {
    void* function;
    void (*call)(void*, Index);
    void operator()(Index i) const { call(function, i); }
  };

  void* object_ = nullptr;
  Index size_ = 1;
  void (*run_)(void*, Task) = nullptr;
};

MOE_NAMESPACE_END
