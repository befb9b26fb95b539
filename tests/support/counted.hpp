// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// How much work something does, told by how often it looks at its input.
#pragma once

#include "moe/core/types.hpp"

namespace moe_test {

/// A scalar that counts its reads.
struct CountedReads {
  static inline moe::Index reads = 0;
  double value;

  CountedReads() = default;
  CountedReads(double v) : value(v) {}
  operator double() const {
    ++reads;
    return value;
  }
  CountedReads& operator+=(CountedReads) { return *this; }  // a gradient that nobody wants
};

}  // namespace moe_test
