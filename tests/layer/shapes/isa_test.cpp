// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every layer shape has the same bits in float on every instruction set of this CPU.
#include "kernel/ffn_problem.hpp"
#include "layer/shapes/token_shapes.hpp"
#include "layer/soft_cases.hpp"

namespace moe_test {
namespace {

template <class L, class F>
void check_isas(L layer, const moe::Batch& batch, F&& losses) {
  const Matrix<float> x = random_matrix<float>(60, layer.model_dim(), 1);
  const Matrix<float> dy = random_dy(layer, 60);
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
  const ShapeSizes sizes{37, 50, 5, 2, 21, {.factor = 0.9}};
  check_isas(make_dense<Dense<float>>(37, 50, 5), {}, kLosses);
  check_isas(make_latent<Latent<float>>(sizes), {}, kLosses);
  check_isas(make_concat<Concat<float>>(sizes), {}, kLosses);
  for (const SoftNormalization normalization : kNormalizations) {
    check_isas(make_soft<Soft<float>>(normalization, 37, 50, 3, 5), {.sequence_lengths = lengths},
               NoLosses{});
  }
  check_isas(make_levels<NoisyLevels<float>>({37, 50, 4, 2, 5, 2}), {.seed = 3}, kLevelLosses);
}

}  // namespace moe_test
