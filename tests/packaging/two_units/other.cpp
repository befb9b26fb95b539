// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The second translation unit: what a header defines without `inline` collides with the first's.
#include <moe/moe.hpp>

moe::Matrix<float> forward(moe::MatrixView<const float> x) {
  const moe::MoeLayer<> layer({.model_dim = 8, .hidden_dim = 16, .num_experts = 4, .top_k = 2}, 42);
  moe::MoeLayer<>::Workspace workspace;
  moe::Matrix<float> y(x.rows(), x.cols());
  layer.forward(x, y, workspace);
  return y;
}
