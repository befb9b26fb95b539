// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// How far two modules' outputs [T, D] are apart: after growing, upcycling, merging an adapter.
#pragma once

#include <algorithm>
#include <cmath>

#include "moe/core/batch.hpp"
#include "moe/core/error.hpp"

MOE_NAMESPACE_BEGIN

struct OutputError {
  double largest = 0;   ///< max |actual - expected|; NaN when a value is not finite
  double rms = 0;       ///< root mean square of actual - expected
  double relative = 0;  ///< largest over max |expected|; 0 when both are 0
};

/// Of two matrices of one shape; throws std::invalid_argument on two.
template <class S>
OutputError output_error(MatrixView<const S> actual, MatrixView<const S> expected) {
  detail::check_shape("moe::output_error", "actual", actual, expected.rows(), expected.cols());
  OutputError error;
  double size = 0, squares = 0;
  bool finite = true;
  for (Index i = 0; i < actual.rows(); ++i) {
    for (Index j = 0; j < actual.cols(); ++j) {
      const auto e = static_cast<double>(expected(i, j));
      const double off = static_cast<double>(actual(i, j)) - e;
      finite = finite && std::isfinite(off);
      error.largest = std::max(error.largest, std::abs(off));
      size = std::max(size, std::abs(e));
      squares += off * off;
    }
  }
  if (!finite) return {NAN, NAN, NAN};
  if (!actual.empty()) error.rms = std::sqrt(squares / static_cast<double>(actual.size()));
  if (error.largest > 0) error.relative = error.largest / size;
  return error;
}

namespace detail {

/// y = module(x), for a layer or an expert alone.
template <class S, class M>
Matrix<S> output_of(const M& module, MatrixView<const S> x) {
  Matrix<S> y(x.rows(), x.cols());
  if constexpr (requires { typename M::Workspace; }) {
    typename M::Workspace workspace;
    module.forward(x, y, workspace);
  } else {
    typename M::State state;
    module.forward(x, y, state);
  }
  return y;
}

}  // namespace detail

/// Of two modules, layers or experts, in evaluation on the same x [T, D]:
///   output_error(upcycled_layer, dense_ffn, x)
template <class A, class B, class S>
OutputError output_error(const A& actual, const B& expected, MatrixView<const S> x) {
  const Matrix<S> a = detail::output_of<S>(actual, x), b = detail::output_of<S>(expected, x);
  return output_error<S>(MatrixView<const S>(a), MatrixView<const S>(b));
}

/// Both for Eigen matrices.
template <detail::DirectEigen A, detail::DirectEigen B>
OutputError output_error(const A& actual, const B& expected) {
  using S = typename A::Scalar;
  return output_error<S>(MatrixView<const S>(actual), MatrixView<const S>(expected));
}
template <class A, class B, detail::DirectEigen X>
OutputError output_error(const A& actual, const B& expected, const X& x) {
  return output_error(actual, expected, MatrixView<const typename X::Scalar>(x));
}

MOE_NAMESPACE_END
