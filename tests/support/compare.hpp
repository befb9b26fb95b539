// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// How tests compare: tolerances from one table, whole matrices at once, bits, sentences.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "moe/core/types.hpp"

namespace moe_test {

using moe::Index;
using moe::Matrix;
using moe::MatrixView;

/// The one table: how many units in the last place a value may lose per term of its longest sum.
template <class S>
inline constexpr double kUlpPerTerm = 0;
template <>
inline constexpr double kUlpPerTerm<float> = 0.5;
template <>
inline constexpr double kUlpPerTerm<double> = 0.5;
/// And what functions such as exp and erf may lose however short the sums are.
inline constexpr double kUlpOfFunctions = 32;

/// Relative to the largest value of the matrix compared.
template <class S>
double tolerance(Index terms) {
  return std::numeric_limits<S>::epsilon() *
         (kUlpOfFunctions + kUlpPerTerm<S> * static_cast<double>(terms));
}

/// Any matrix, map, block or view as a read-only view.
template <class X>
auto view_of(const X& x) {
  return MatrixView<const typename X::Scalar>(x);
}

/// max |a - b| / max(1, max |b|); infinite when a shape differs or a value is not finite.
template <class A, class B>
double distance(const A& actual, const B& expected) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto a = view_of(actual);
  const auto b = view_of(expected);
  if (a.rows() != b.rows() || a.cols() != b.cols()) return kInfinity;
  double worst = 0, scale = 1;
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.cols(); ++j) {
      const auto x = static_cast<double>(a(i, j)), y = static_cast<double>(b(i, j));
      if (!std::isfinite(x) || !std::isfinite(y)) return kInfinity;
      worst = std::max(worst, std::abs(x - y));
      scale = std::max(scale, std::abs(y));
    }
  }
  return worst / scale;
}

/// Every bit, so that NaN equals NaN and 0 is not -0.
template <class A, class B>
bool same_bits(const A& first, const B& second) {
  const auto a = view_of(first);
  const auto b = view_of(second);
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  if (a.empty()) return true;
  const auto bytes = static_cast<std::size_t>(a.cols()) * sizeof(a(0, 0));
  for (Index i = 0; i < a.rows(); ++i) {
    if (std::memcmp(a.row(i), b.row(i), bytes) != 0) return false;
  }
  return true;
}

/// The message of the std::invalid_argument that `f` throws.
template <class F>
std::string sentence_of(F&& f) {
  try {
    f();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

/// A matrix inside a bigger one that is full of a mark, so that strides matter and a write outside
/// shows.
template <class S>
class Framed {
 public:
  Framed(Index rows, Index cols, Index margin)
      : rows_(rows), cols_(cols), margin_(margin), all_(rows + 2 * margin, cols + 2 * margin) {
    all_.setConstant(mark());
    inner().setZero();
  }
  auto inner() { return all_.block(margin_, margin_, rows_, cols_); }
  MatrixView<S> view() { return inner(); }
  bool frame_is_whole() const {
    Index marks = 0;
    for (Index i = 0; i < all_.rows(); ++i) {
      for (Index j = 0; j < all_.cols(); ++j) {
        const bool inside =
            i >= margin_ && i < margin_ + rows_ && j >= margin_ && j < margin_ + cols_;
        marks += !inside && std::isnan(all_(i, j)) ? 1 : 0;
      }
    }
    return marks == all_.size() - rows_ * cols_;
  }

 private:
  static S mark() { return std::numeric_limits<S>::quiet_NaN(); }
  Index rows_, cols_, margin_;
  Matrix<S> all_;
};

}  // namespace moe_test
