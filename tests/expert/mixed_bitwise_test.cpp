// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers of experts of several kinds have the same bits on any threads, instruction set and batch.
#include "expert/mixed.hpp"
#include "kernel/ffn_problem.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

namespace moe_test {
namespace {

const Case kCases[] = {
    {.t = 150, .d = 70, .h = 60, .e = 12, .k = 5, .seed = 1},
    {.t = 120, .d = 33, .h = 20, .e = 12, .k = 3, .capacity = 0.7, .masked = true, .seed = 2}};

template <class S>
Step<S> run_step(const Case& c, bool on_input, moe::ExecutorRef executor = {}) {
  auto layer = make_mixed_layer<S>(c, every_kind<S>(), on_input);
  const std::vector<std::uint8_t> mask = random_mask(c);
  typename MixedLayer<S>::Tape tape(executor);
  return train_step(layer, random_matrix<S>(c.t, c.d, 1), random_matrix<S>(c.t, c.d, 2), tape,
                    {.mask = mask}, {.balance = 1});
}

}  // namespace

TEMPLATE_TEST_CASE("mixed experts have the same bits on any number of threads", "[expert][bitwise]",
                   float, double) {
  using S = TestType;
  for (const Case& c : kCases) {
    for (const bool on_input : {false, true}) {
      const Step<S> serial = run_step<S>(c, on_input);
      for (const Index size : {2, 3, 4}) {
        Threads threads(size);
        CHECK(same_bits(run_step<S>(c, on_input, threads), serial));
      }
    }
  }
}

TEST_CASE("mixed experts have the same bits on every instruction set", "[expert][bitwise]") {
  const Step<float> first = run_step<float>(kCases[1], false);
  for (const moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    CHECK(same_bits(run_step<float>(kCases[1], false), first));
  }
}

TEMPLATE_TEST_CASE("a token of a mixed layer has the same bits alone and in any batch",
                   "[expert][bitwise]", float, double) {
  using S = TestType;
  const Case& c = kCases[0];
  auto layer = make_mixed_layer<S>(c, every_kind<S>());
  const Matrix<S> x = random_matrix<S>(c.t, c.d, 1), dy = random_matrix<S>(c.t, c.d, 2);
  const Step<S> all = train_step(layer, x, dy);
  for (const Index size : {1, 2, 7, 40}) {
    const Index first = (c.t - size) / 2;
    const Step<S> part = train_step(layer, Matrix<S>(x.middleRows(first, size)),
                                    Matrix<S>(dy.middleRows(first, size)));
    CHECK(same_bits(part.y, all.y.middleRows(first, size)));
    CHECK(same_bits(part.dx, all.dx.middleRows(first, size)));
  }
}

TEST_CASE("kinds are summed in ascending order of experts, however they are grouped",
          "[expert][bitwise]") {
  // A token with all experts: the same sum by hand, each expert alone.
  const Case c{.t = 5, .d = 9, .h = 6, .e = 12, .k = 12, .seed = 3};
  const auto layer = make_mixed_layer<float>(c, every_kind<float>());
  const Matrix<float> x = random_matrix<float>(5, 9, 1);
  Matrix<float> y(5, 9), sum(5, 9);
  MixedLayer<float>::Workspace workspace;
  layer.forward(x, y, workspace);
  sum.setZero();
  for (Index e = 0; e < c.e; ++e) {
    const std::vector<Any<float>> one{layer.expert(e)};
    moe::GroupState<Any<float>, float> state;
    const std::vector<std::int32_t> offset{0, 5}, token{0, 1, 2, 3, 4};
    std::vector<float> weight;
    for (Index t = 0; t < 5; ++t) {
      for (Index j = 0; j < c.k; ++j) {
        if (workspace.routing.expert(t, j) == e) weight.push_back(workspace.routing.weight(t, j));
      }
    }
    moe::group_forward(one, moe::RowGroups<float>{offset, token, weight},
                       moe::MatrixView<const float>(x), moe::MatrixView<float>(sum), state,
                       /*keep=*/false, {}, /*accumulate=*/true);
  }
  CHECK(same_bits(sum, y));
}

}  // namespace moe_test
