// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gradients of the hierarchical layer against differences, through both levels and their losses.
#include "layer/hierarchical_cases.hpp"
#include "moe/gate/gshard.hpp"
#include "moe/layer/soft_layer.hpp"

namespace moe_test {
namespace {

/// The first of many random inputs at which no difference quotient steps over a change of experts.
template <class L>
Matrix<double> smooth_input(const L& layer, Index tokens, const moe::Batch& batch) {
  typename L::Tape tape;
  Matrix<double> x(tokens, layer.model_dim()), y = x;
  for (std::uint64_t seed = 1; seed < 1000; ++seed) {
    x = random_matrix<double>(tokens, layer.model_dim(), seed);
    layer.forward(x, y, tape, batch);
    double margin = 1;
    const auto look = [&](const auto& level, Index k) {
      const Index e = level.routing.num_experts();
      for (Index t = 0; t < level.routing.tokens() && k < e; ++t) {
        if (level.routing.expert(t, 0) == moe::kNoExpert) continue;  // padding
        const double* row = level.logits.data() + t * e;
        std::vector<double> logits(row, row + e);
        std::sort(logits.rbegin(), logits.rend());
        margin = std::min(
            margin, logits[static_cast<std::size_t>(k - 1)] - logits[static_cast<std::size_t>(k)]);
      }
    };
    look(tape, layer.top_k());
    for (Index g = 0; g < layer.num_groups(); ++g) look(tape.group(g), layer.group(g).top_k());
    if (margin > 2e-3) break;
  }
  return x;
}

}  // namespace

TEST_CASE("gradients of two levels are right, with the losses of each and of both",
          "[layer][hierarchical][gradient]") {
  for (const Index k : {1, 2, 3}) {
    auto layer = make_levels<TwoLevels<double>>({.k = k});
    check_shape_gradients(layer, smooth_input(layer, 7, {}), {}, kLevelLosses, 60);
  }
  const std::vector<std::uint8_t> mask = {1, 0, 1, 1, 1, 0, 1};
  auto tight = make_levels<TwoLevels<double>>({}, {.factor = 0.6});
  check_shape_gradients(tight, smooth_input(tight, 7, {.mask = mask}), {.mask = mask}, kLevelLosses,
                        60);
}

TEST_CASE("gradients of noisy gates on two levels go through the deviations",
          "[layer][hierarchical][gradient]") {
  auto layer = make_levels<NoisyLevels<double>>();
  const moe::Batch batch{.seed = 3, .step = 2};
  check_shape_gradients(layer, smooth_input(layer, 7, batch), batch, kLevelLosses, 60);
}

TEST_CASE("gradients are right through three levels", "[layer][hierarchical][gradient]") {
  using Three = moe::HierarchicalLayer<double, TwoLevels<double>>;
  Three layer({.model_dim = 4,
               .num_groups = 2,
               .top_k = 2,
               .group = {.num_groups = 2,
                         .top_k = 2,
                         .group = {.model_dim = 4, .hidden_dim = 3, .num_experts = 2, .top_k = 2}}},
              5);
  check_shape_gradients(layer, random_matrix<double>(5, 4, 1), {}, [](auto& tape) {
    double sum = tape.add_loss(moe::SwitchLoss{0.3}) + tape.add_group_losses(moe::SwitchLoss{0.2});
    for (Index g = 0; g < 2; ++g) {
      sum += tape.group(g).add_group_losses(moe::SwitchLoss{0.1});
      sum += tape.group(g).add_loss(moe::HierarchicalImportanceLoss{0.2});
    }
    return sum + tape.add_loss(moe::HierarchicalImportanceLoss{0.4});
  });
}

TEST_CASE("gradients are right with weights on the groups' input and with soft groups",
          "[layer][hierarchical][gradient]") {
  auto layer = make_levels<TwoLevels<double>>();
  layer.gate() = moe::TopKGate({.num_experts = 3, .top_k = 2}, {.weight_on_input = true});
  check_shape_gradients(layer, smooth_input(layer, 7, {}), {}, kLevelLosses, 60);

  using SoftGroups = moe::HierarchicalLayer<double, moe::SoftLayer<double>>;
  SoftGroups soft({.model_dim = 5,
                   .num_groups = 2,
                   .top_k = 2,
                   .group = {.hidden_dim = 4, .num_experts = 2, .slots = 2}});
  const std::vector<Index> lengths = {3, 0, 4};
  const moe::Batch batch{.sequence_lengths = lengths};
  const Matrix<double> x = random_matrix<double>(7, 5, 1);
  check_shape_gradients(
      soft, x, batch, [](auto& tape) { return tape.add_loss(moe::SwitchLoss{0.3}); }, 60);
  // Sequences stay apart inside groups: the second does not see the first.
  Matrix<double> y(7, 5), other(7, 5), changed = x;
  changed.row(1) *= 2;
  SoftGroups::Workspace workspace;
  soft.forward(x, y, workspace, batch);
  soft.forward(changed, other, workspace, batch);
  CHECK_FALSE(same_bits(y.row(0), other.row(0)));
  CHECK(same_bits(y.bottomRows(4), other.bottomRows(4)));
}

}  // namespace moe_test
