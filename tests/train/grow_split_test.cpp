// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/dense.hpp"
#include "moe/train/grow.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"

namespace moe_test {
namespace {

using Layer = moe::MoeLayer<double, moe::LinearRouter<double>, moe::DenseGate, moe::Ffn<double>>;

Matrix<double> output(const Layer& layer, const Matrix<double>& x) {
  Matrix<double> y(x.rows(), x.cols());
  Layer::Workspace workspace;
  layer.forward(x, y, workspace);
  return y;
}

}  // namespace

TEST_CASE("Under a softmax over all experts a split keeps the output, and so does joining again",
          "[train][grow]") {
  Layer layer({.model_dim = 5, .hidden_dim = 6, .num_experts = 3, .top_k = 3}, 1);
  const Matrix<double> x = random_matrix<double>(20, 5, 2), before = output(layer, x);
  moe::add_expert(layer, {.from = {1}, .row = moe::RouterRow::split});
  CHECK(layer.top_k() == 4);
  CHECK(distance(output(layer, x), before) < 1e-14);
  moe::merge_experts(layer, {1, 3}, {.join_weight = true});
  CHECK(layer.top_k() == 3);
  CHECK(distance(output(layer, x), before) < 1e-14);

  // Without joining, the merged one has half of its weight.
  moe::add_expert(layer, {.from = {1}, .row = moe::RouterRow::split});
  moe::merge_experts(layer, {1, 3});
  CHECK(distance(output(layer, x), before) > 1e-3);
}

}  // namespace moe_test
