// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Rows of length one, their gradient, and orthogonal starting values.
#pragma once

#include <algorithm>
#include <cmath>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Row i of out = in / max(|in|, eps); norm[i] = |in|.
template <class S>
void normalize_rows(MatrixView<const S> in, S eps, MatrixView<S> out, S* norm) {
  for (Index i = 0; i < in.rows(); ++i) {
    S sum = 0;
    for (Index j = 0; j < in.cols(); ++j) sum += in(i, j) * in(i, j);
    norm[i] = std::sqrt(sum);
    for (Index j = 0; j < in.cols(); ++j) out(i, j) = in(i, j) / std::max(norm[i], eps);
  }
}

/// din = (dout - out <out, dout>) / |in|, or dout / eps for a row shorter than eps; in place.
template <class S>
void normalize_rows_backward(MatrixView<const S> out, const S* norm, S eps, MatrixView<S> d) {
  for (Index i = 0; i < d.rows(); ++i) {
    S along = 0;
    for (Index j = 0; j < d.cols(); ++j) along += out(i, j) * d(i, j);
    if (norm[i] < eps) along = 0;
    for (Index j = 0; j < d.cols(); ++j) {
      d(i, j) = (d(i, j) - out(i, j) * along) / std::max(norm[i], eps);
    }
  }
}

/// Makes the rows of m (its columns, if there are more rows than columns) orthonormal.
template <class S>
void orthonormalize(Matrix<S>& m) {
  Matrix<double> rows = m.template cast<double>();
  const bool tall = rows.rows() > rows.cols();
  if (tall) rows = rows.transpose().eval();
  for (Index i = 0; i < rows.rows(); ++i) {
    for (Index j = 0; j < i; ++j) rows.row(i) -= rows.row(j).dot(rows.row(i)) * rows.row(j);
    rows.row(i).normalize();
  }
  if (tall) rows = rows.transpose().eval();
  m = rows.cast<S>();
}

}  // namespace detail
MOE_NAMESPACE_END
