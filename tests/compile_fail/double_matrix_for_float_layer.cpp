// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A matrix of doubles is not given to a layer of floats.
// expect: the matrix holds another scalar type than the layer
#include <moe/layer/moe_layer.hpp>

#if MOE_SHOULD_COMPILE
using S = float;
#else
using S = double;
#endif

void run(const moe::MoeLayer<float>& layer, const moe::Matrix<S>& x, moe::Matrix<float>& y,
         moe::MoeLayer<float>::Workspace& workspace) {
  layer.forward(x, y, workspace);
}
