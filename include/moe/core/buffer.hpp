// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Scratch memory of workspaces and tapes: grows, never shrinks, 64-byte aligned, not initialised.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN

/// One named intermediate of a workspace. `resize` keeps no contents and allocates only when the
/// new size exceeds every earlier one, so the second call at the same or a smaller T allocates
/// nothing.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr std::size_t kAlignment = 64;

  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }

  /// Leaves `other` empty: what was moved from may be used again.
  Buffer& operator=(Buffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  /// Memory for later sizes up to `count`; the size stays, the contents do not.
  void reserve(Index count) {
    if (count > capacity_) {
      // A quarter more than asked, so that a slowly growing batch does not allocate every time.
      const Index wanted = capacity_ == 0 ? count : count + count / 4;
      const auto bytes = static_cast<std::size_t>(wanted) * sizeof(T);
      memory_.reset(static_cast<T*>(::operator new (bytes, std::align_val_t{kAlignment})));
      capacity_ = wanted;
    }
  }

  /// Room for `count` values. A failed allocation leaves the old contents in place.
  std::span<T> resize(Index count) {
    reserve(count);
    size_ = count;
    return span();
  }

  MatrixView<T> resize(Index rows, Index cols) {
    resize(rows * cols);
    return {memory_.get(), rows, cols};
  }

  void fill(T value) { std::fill_n(memory_.get(), size_, value); }

  T* data() { return memory_.get(); }
  const T* data() const { return memory_.get(); }
  Index size() const { return size_; }
  Index capacity() const { return capacity_; }
  std::span<T> span() { return {memory_.get(), static_cast<std::size_t>(size_)}; }
  std::span<const T> span() const { return {memory_.get(), static_cast<std::size_t>(size_)}; }
  T& operator[](Index i) { return memory_.get()[i]; }
  const T& operator[](Index i) const { return memory_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete (p, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<T, Free> memory_;
  Index size_ = 0;
  Index capacity_ = 0;
};

MOE_NAMESPACE_END
