// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Adapters in training: the steady state allocates nothing.
#include "support/allocations.hpp"

#include "support/catch.hpp"
#include "support/threads.hpp"
#include "train/lora_cases.hpp"

#if MOE_TEST_COUNTS_ALLOCATIONS
namespace moe_test {

TEST_CASE("Adapters allocate nothing for other choices than before", "[train][lora][allocation]") {
  using Layer = decltype(adapted_layer<moe::GatedFfn<float>>());
  for (const Index size : {1, 3}) {
    INFO("threads " << size);
    Threads threads(size);
    Layer layer = adapted_layer<moe::GatedFfn<float>>();
    const Matrix<float> dy = random_matrix<float>(600, 6, 6);
    Matrix<float> x = random_matrix<float>(600, 6, 5), y(600, 6), dx(600, 6);
    Layer::Tape tape(threads);
    const auto step = [&] {
      return allocations_in([&] {
        layer.forward(x, y, tape);
        layer.backward(dy, dx, tape);
      });
    };
    CHECK(step() > 0);
    CHECK(step() == 0);
    x = random_matrix<float>(600, 6, 7);
    CHECK(step() == 0);
    layer.router().base.bias.value(0, 3) += 30;  // everybody to one expert
    CHECK(step() == 0);
  }
}

}  // namespace moe_test
#endif
