// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A user's program in two translation units. The view crosses between them.
#include <moe/moe.hpp>

float sum(moe::MatrixView<const float> x);

int main() {
  const moe::Matrix<float> x = moe::Matrix<float>::Constant(2, 3, 1.0f);
  return sum(x) == 6.0f ? 0 : 1;
}
