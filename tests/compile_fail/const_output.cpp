// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a layer writes to cannot be const.
// expect: an output cannot be a const matrix
#include <moe/layer/moe_layer.hpp>

#if MOE_SHOULD_COMPILE
using Output = moe::Matrix<float>;
#else
using Output = const moe::Matrix<float>;
#endif

void run(const moe::MoeLayer<float>& layer, const moe::Matrix<float>& x, Output& y,
         moe::MoeLayer<float>::Workspace& workspace) {
  layer.forward(x, y, workspace);
}
