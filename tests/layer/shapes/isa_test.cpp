// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every layer shape has the same bits in float on every instruction set of this CPU.
#include "kernel/ffn_problem.hpp"
#include "layer/hierarchical_cases.hpp"
#include "layer/soft_cases.hpp"
#include "moe/layer/dense_layer.hpp"

namespace moe_test {
namespace {

template <class L, class F>
void check_isas(L layer, const moe::Batch& batch, F&& losses) {
  const Matrix<float> x = random_matrix<float>(60, layer.model_dim(), 1);
  const Matrix<float> dy = random_matrix<float>(60, layer.model_dim(), 2);
  Step<float> expected;
  {
    const UseIsa scalar(moe::Isa::scalar);
    expected = shape_step(layer, x, dy, batch, losses);
  }
  for (const moe::Isa isa : moe::available_isas()) {
    INFO("instruction set " << static_cast<int>(isa));
    const UseIsa use(isa);
    const Step<float> step = shape_step(layer, x, dy, batch, losses);
    CHECK(step.loss == expected.loss);
    CHECK(same_bits(step, expected));
  }
}

}  // namespace

TEST_CASE("every layer shape gives the same bits on every instruction set", "[layer][bitwise]") {
  const std::vector<Index> lengths = {27, 33};
  const auto balance = [](auto& tape) {
    return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3}));
  };
  check_isas(moe::DenseLayer<float>({.model_dim = 37, .hidden_dim = 50, .num_experts = 5}, 1), {},
             balance);
  for (const SoftNormalization normalization : kNormalizations) {
    check_isas(make_soft<Soft<float>>(normalization, 37, 50, 3, 5), {.sequence_lengths = lengths},
               NoLosses{});
  }
  check_isas(make_levels<NoisyLevels<float>>({37, 50, 4, 2, 5, 2}), {.seed = 3}, kLevelLosses);
}

}  // namespace moe_test
