// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A column-major matrix does not bind to a view.
// expect: matrices are row-major
#include "moe/core/types.hpp"

#if MOE_SHOULD_COMPILE
using Input = moe::Matrix<float>;
#else
using Input = Eigen::MatrixXf;
#endif

moe::MatrixView<const float> view(const Input& x) { return x; }
