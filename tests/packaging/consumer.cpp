// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A user's program, as short as it gets: does the compiler find everything?
#include <moe/moe.hpp>

int main() {
  const moe::Matrix<float> x = moe::Matrix<float>::Ones(2, 3);
  const moe::MatrixView<const float> view = x;
  return view.cols() == 3 ? 0 : 1;
}
