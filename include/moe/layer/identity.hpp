// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Which layer is which, so that a tape cannot be played to another.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "moe/core/batch.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// A number that no two layers share. A copy is another layer, and so is a layer assigned to; a layer
/// that is moved stays itself.
class LayerId {
 public:
  LayerId() : value_(next()) {}
  LayerId(const LayerId&) : LayerId() {}
  LayerId(LayerId&& other) noexcept : value_(std::exchange(other.value_, next())) {}
  LayerId& operator=(const LayerId&) {
    value_ = next();
    return *this;
  }
  LayerId& operator=(LayerId&& other) noexcept {
    if (this != &other) value_ = std::exchange(other.value_, next());
    return *this;
  }
  std::uint64_t value() const { return value_; }

 private:
  static std::uint64_t next() noexcept {
    static std::atomic<std::uint64_t> counter{0};
    return ++counter;
  }
  std::uint64_t value_;
};

/// The layer a tape waits for, 0 when none. Does not stay behind in a tape that was moved from.
class FilledBy {
 public:
  FilledBy() = default;
  FilledBy(FilledBy&& other) noexcept : value_(std::exchange(other.value_, 0)) {}
  FilledBy& operator=(FilledBy&& other) noexcept {
    value_ = std::exchange(other.value_, 0);
    return *this;
  }
  FilledBy& operator=(std::uint64_t value) {
    value_ = value;
    return *this;
  }
  operator std::uint64_t() const { return value_; }  // NOLINT(google-explicit-constructor)

 private:
  std::uint64_t value_ = 0;
};

}  // namespace detail
MOE_NAMESPACE_END
