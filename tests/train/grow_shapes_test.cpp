// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Experts come and go in layers of other shapes than the sparse one.
#include "moe/layer/concat.hpp"
#include "moe/layer/dense_layer.hpp"
#include "moe/layer/latent.hpp"
#include "moe/train/grow.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"

namespace moe_test {
namespace {

template <class L>
Matrix<double> output(const L& layer, Index cols) {
  Matrix<double> y(9, cols);
  typename L::Workspace workspace;
  layer.forward(random_matrix<double>(9, 6, 1), y, workspace);
  return y;
}

/// A closed expert changes no bit, and none when it goes again.
template <class L>
void check_growth(L layer, Index cols) {
  const Matrix<double> before = output(layer, cols);
  moe::add_expert(layer, {.row = moe::RouterRow::closed});
  CHECK(layer.num_experts() == 5);
  CHECK(same_bits(output(layer, cols), before));
  moe::remove_expert(layer, 4);
  CHECK(same_bits(output(layer, cols), before));
}

}  // namespace

TEST_CASE("latent, concatenating and dense layers grow and shrink", "[train][grow]") {
  moe::LatentLayer<double> latent(
      {.model_dim = 6, .latent_dim = 3, .hidden_dim = 5, .num_experts = 4, .top_k = 2});
  check_growth(latent, 6);
  check_growth(
      moe::ConcatLayer<double>({.model_dim = 6, .hidden_dim = 5, .num_experts = 4, .top_k = 2}),
      12);
  check_growth(moe::DenseLayer<double>({.model_dim = 6, .hidden_dim = 5, .num_experts = 4}), 6);

  moe::Random random(1);
  moe::add_expert(latent, moe::GatedFfn<double>({.model_dim = 3, .hidden_dim = 5}, {}, random));
  CHECK(latent.num_experts() == 5);
  output(latent, 6);
  CHECK(sentence_of([&] {
          moe::add_expert(latent,
                          moe::GatedFfn<double>({.model_dim = 6, .hidden_dim = 5}, {}, random));
        }) == "moe::add_expert: the expert has 6 columns, the latent width is 3");
}

}  // namespace moe_test
