// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/adamw.hpp"
#include "moe/train/grow.hpp"
#include "moe/train/output_error.hpp"
#include "support/catch.hpp"
#include "train/lora_cases.hpp"

namespace moe_test {
namespace {

using Ffn = moe::Ffn<double, moe::Relu>;
using Mixture = moe::LoraMixture<double, moe::TopKGate, Ffn>;

Ffn base_ffn() {
  moe::Random random(9, 0);
  return Ffn({6, 10, 1, 1}, {.bias = true}, random);
}

Mixture mixture() {
  moe::Random random(2, 0);
  return Mixture(moe::LinearRouter<double>({6, 10, 3, 2}, {.bias = true}, random),
                 moe::TopKGate({6, 10, 3, 2}, {}),
                 moe::lora_experts(base_ffn(), 3, {.rank = 2, .alpha = 2}));
}

}  // namespace

TEST_CASE("A fresh mixture of LoRAs computes its base, held once", "[train][lora]") {
  Mixture layer = mixture();
  const Matrix<double> x = random_matrix<double>(30, 6, 5);
  CHECK(moe::output_error(layer, base_ffn(), MatrixView<const double>(x)).relative < 1e-14);
  CHECK(&layer.expert(0).base() == &layer.expert(2).base());
  const Mixture copy = layer;
  CHECK(&copy.expert(0).base() == &layer.expert(0).base());
  const Index adapters = 3 * (2 * 6 + 10 * 2 + 2 * 10 + 6 * 2);
  CHECK(moe::parameter_count(layer) == adapters + 3 * 6 + 3);
}

TEST_CASE("A mixture of LoRAs is the layer of its merged experts, and learns", "[train][lora]") {
  Mixture layer = mixture();
  moe::AdamW<double> adamw({.lr = 0.05});
  const Matrix<double> x = random_matrix<double>(30, 6, 5),
                       target = random_matrix<double>(30, 6, 6);
  const double before = (output(layer, x) - target).squaredNorm();
  for (int n = 0; n < 60; ++n) {
    train_step(layer, x, Matrix<double>(output(layer, x) - target));
    adamw.step(layer);
  }
  CHECK((output(layer, x) - target).squaredNorm() < 0.7 * before);
  CHECK(adamw.state().size() == 2 * moe::parameter_count(layer));
  CHECK(same_bits(layer.expert(1).base().w_in.value, base_ffn().w_in.value));

  std::vector<Ffn> merged;
  for (Index e = 0; e < 3; ++e) merged.push_back(layer.expert(e).merged_ffn());
  const LayerOf<double, Ffn> plain(layer.router(), layer.gate(), merged);
  CHECK(same_bits(output(layer, x), output(plain, x)));
}

TEST_CASE("Adapters come and go like other experts", "[train][lora][grow]") {
  Mixture layer = mixture();
  const Matrix<double> x = random_matrix<double>(30, 6, 5), y = output(layer, x);
  const auto change = moe::add_expert(layer, {.row = moe::RouterRow::closed, .seed = 4});
  CHECK(same_bits(output(layer, x), y));
  CHECK(layer.expert(3).in.b.value.isZero(0));
  CHECK_FALSE(same_bits(layer.expert(3).in.a.value, layer.expert(2).in.a.value));
  CHECK(&layer.expert(3).base() == &layer.expert(0).base());
  CHECK(change.axes.at("router.weight") == moe::ExpertAxis::rows);
  moe::remove_expert(layer, 3);
  CHECK(same_bits(output(layer, x), y));
  CHECK(sentence_of([&] {
          moe::merge_experts(layer, {0, 1});
        }) ==
        "moe::merge_experts: the mean of adapters is not the adapter of the mean, expected experts "
        "without: merged_layer()");

  auto adapted = adapted_layer<Ffn>();
  const Matrix<double> before = output(adapted, x);
  moe::add_expert(adapted, {.from = {2}, .row = moe::RouterRow::closed});
  CHECK(same_bits(output(adapted, x), before));
  CHECK(same_bits(adapted.expert(4).in.b.value, adapted.expert(2).in.b.value));
  CHECK_FALSE(adapted.expert(4).base().w_in.trainable);  // under the copy the base stays frozen
  CHECK(adapted.expert(4).in.a.trainable);
}

TEST_CASE("A mixture needs an expert and a base", "[train][lora][misuse]") {
  CHECK(sentence_of([] { moe::lora_experts(base_ffn(), 0, {}); }) ==
        "moe::lora_experts: count is 0, expected at least 1");
  moe::Random random(1, 1);
  CHECK(sentence_of([&] { moe::SharedLoraFfn<Ffn>(nullptr, {}, random); }) ==
        "moe::LoraFfn: base is null, expected an FFN");
}

TEST_CASE("A layer does not grow or shrink while merged", "[train][lora][grow][misuse]") {
  auto layer = adapted_layer<moe::GatedFfn<double>>();
  const auto apart = parameters_of(layer);
  moe::merge_lora(layer);
  const auto before = parameters_of(layer);
  const std::string router =
      "the router's adapter is merged into its weights, expected unmerge() or unmerge_lora() first";
  const std::string expert =
      "the expert's adapters are merged into its weights, expected unmerge() or unmerge_lora() "
      "first";
  CHECK(sentence_of([&] { moe::remove_expert(layer, 0); }) == "moe::remove_expert: " + router);
  CHECK(sentence_of([&] { moe::add_expert(layer, layer.expert(0)); }) ==
        "moe::add_expert: " + router);
  CHECK(sentence_of([&] { moe::add_expert(layer); }) == "moe::draw_anew: " + expert);
  CHECK(sentence_of([&] { moe::add_expert(layer, {.from = {2}}); }) ==
        "moe::add_expert: " + expert);
  CHECK(sentence_of([&] { moe::merge_experts(layer, {1, 2}); }) == "moe::merge_experts: " + expert);
  CHECK(same_bits(parameters_of(layer), before));
  moe::unmerge_lora(layer);
  CHECK(same_bits(parameters_of(layer), apart));
  moe::remove_expert(layer, 0);
  moe::merge_lora(layer);
  moe::unmerge_lora(layer);
  CHECK(layer.router().base.weight.value.rows() == 3);
}

}  // namespace moe_test
