// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The vocabulary of every header: Index, Matrix, MatrixView. All matrices are row-major, one token
// per row. Letters: T tokens, D model width, H hidden width, E experts, K experts per token, N kept
// assignments (at most T * K).
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "moe/version.hpp"

MOE_NAMESPACE_BEGIN

using Index = std::ptrdiff_t;

/// Row-major dense matrix, one token per row.
template <class S>
using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Row vector; the storage of biases and per-expert values.
template <class S>
using RowVector = Eigen::Matrix<S, 1, Eigen::Dynamic, Eigen::RowMajor>;

namespace detail {

/// A dense Eigen object whose rows lie in memory: Matrix, Map, Ref and blocks of them.
template <class X>
concept DirectEigen = requires(X& x) {
  x.data();
  x.outerStride();
  x.innerStride();
  std::remove_cvref_t<X>::IsRowMajor;
};

}  // namespace detail

/// What public functions take: a pointer, a shape, and the distance between rows. Never owns. Binds
/// without a copy to any row-major Eigen matrix, Map, Ref or block of rows and columns.
/// `MatrixView<const S>` is read-only; a `MatrixView<S>` converts to it.
template <class T>
class MatrixView {
 public:
  using Scalar = std::remove_const_t<T>;

  constexpr MatrixView() = default;

  /// View of `rows` x `cols` values at `data`; `stride` is the distance between rows in values.
  constexpr MatrixView(T* data, Index rows, Index cols, Index stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {}
  constexpr MatrixView(T* data, Index rows, Index cols) : MatrixView(data, rows, cols, cols) {}

  /// Implicit on purpose: callers hand their Eigen objects in as they are.
  template <detail::DirectEigen X>
  constexpr MatrixView(X&& x) {  // NOLINT(google-explicit-constructor)
    using Plain = std::remove_cvref_t<X>;
    using Data = std::remove_pointer_t<decltype(x.data())>;
    constexpr bool kSameScalar = std::is_same_v<typename Plain::Scalar, Scalar>;
    constexpr bool kWritable = std::is_const_v<T> || !std::is_const_v<Data>;
    constexpr bool kColumn = Plain::ColsAtCompileTime == 1;
    static_assert(kSameScalar, "moe: the matrix holds another scalar type than the layer");
    static_assert(kWritable, "moe: an output cannot be a const matrix");
    static_assert(Plain::IsRowMajor || kColumn,
                  "moe: matrices are row-major, one token per row; declare it as moe::Matrix<S> or "
                  "with Eigen::RowMajor");
    static_assert(Plain::InnerStrideAtCompileTime == 1 || kColumn,
                  "moe: the values of a row must be contiguous");
    if constexpr (kSameScalar && kWritable) {  // so that the sentence above is the only error
      data_ = x.data();
      rows_ = x.rows();
      cols_ = x.cols();
      stride_ = Plain::IsRowMajor ? x.outerStride() : x.innerStride();
    }
  }

  template <class U>
  requires std::is_same_v<T, const U>
  constexpr MatrixView(const MatrixView<U>& other)  // NOLINT(google-explicit-constructor)
      : MatrixView(other.data(), other.rows(), other.cols(), other.stride()) {}

  constexpr T* data() const { return data_; }
  constexpr Index rows() const { return rows_; }
  constexpr Index cols() const { return cols_; }
  constexpr Index stride() const { return stride_; }
  constexpr Index size() const { return rows_ * cols_; }
  constexpr bool empty() const { return size() == 0; }
  constexpr T* row(Index i) const { return data_ + i * stride_; }
  constexpr T& operator()(Index i, Index j) const { return data_[i * stride_ + j]; }

  /// Rows [first, first + count).
  constexpr MatrixView middle_rows(Index first, Index count) const {
    return {data_ + first * stride_, count, cols_, stride_};
  }

  /// The same memory as an Eigen expression.
  auto eigen() const {
    using Plain = std::conditional_t<std::is_const_v<T>, const Matrix<Scalar>, Matrix<Scalar>>;
    return Eigen::Map<Plain, 0, Eigen::OuterStride<>>(data_, rows_, cols_,
                                                      Eigen::OuterStride<>(stride_));
  }

 private:
  T* data_ = nullptr;
  Index rows_ = 0;
  Index cols_ = 0;
  Index stride_ = 0;
};

/// The sizes every part of a layer is built from.
struct Dims {
  Index model_dim = 0;    ///< D
  Index hidden_dim = 0;   ///< H
  Index num_experts = 0;  ///< E
  Index top_k = 0;        ///< K
};

MOE_NAMESPACE_END
