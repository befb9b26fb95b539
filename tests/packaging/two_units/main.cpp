// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The same layer in two translation units, linked into one program, gives the same numbers.
#include <moe/moe.hpp>

moe::Matrix<float> forward(moe::MatrixView<const float> x);  // in other.cpp

int main() {
  const moe::Matrix<float> x = moe::Matrix<float>::Random(5, 8);
  const moe::MoeLayer<> layer({.model_dim = 8, .hidden_dim = 16, .num_experts = 4, .top_k = 2}, 42);
  moe::MoeLayer<>::Workspace workspace;
  moe::Matrix<float> y(5, 8);
  layer.forward(x, y, workspace);
  return y == forward(x) ? 0 : 1;
}
