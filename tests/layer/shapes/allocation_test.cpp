// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The steady state of every layer shape allocates nothing, in inference and in training.
#include "support/allocations.hpp"

#include "layer/shapes/token_shapes.hpp"
#include "moe/layer/packed_concat.hpp"
#include "moe/layer/packed_dense.hpp"
#include "moe/layer/packed_latent.hpp"
#include "moe/layer/soft_layer.hpp"
#include "moe/observe/layer_stats.hpp"

#if MOE_TEST_COUNTS_ALLOCATIONS
namespace moe_test {
namespace {

/// Allocations of an inference and its statistics, and of a training step, on memory that lives on.
template <class L, class F>
struct Counter {
  L layer;
  Matrix<float> x, y, dy, dx;
  F losses;
  typename L::Workspace workspace;
  typename L::Tape tape;
  moe::LayerStats stats;

  Counter(L made, Index tokens, moe::ExecutorRef threads, F f)
      : layer(std::move(made)),
        x(random_matrix<float>(tokens, layer.model_dim(), 1)),
        y(tokens, output_dim_of(layer)),
        dy(random_dy(layer, tokens)),
        dx(x),
        losses(f),
        workspace(threads),
        tape(threads) {}

  long all(Index tokens, const moe::Batch& batch = {}) {
    const auto in = x.topRows(tokens);
    return allocations_in([&] {
      layer.forward(in, y.topRows(tokens), workspace, batch);
      layer_stats(workspace, stats);
      layer.forward(in, y.topRows(tokens), tape, batch);
      losses(tape);
      layer.backward(dy.topRows(tokens), dx.topRows(tokens), tape);
    });
  }
};

}  // namespace

TEST_CASE("layers allocate nothing later, with any padding, choice and capacity",
          "[layer][allocation]") {
  const auto check = [](auto made, moe::ExecutorRef threads) {
    std::vector<std::uint8_t> mask(60, 0);
    mask[5] = 1;
    for (const bool padding_first : {false, true}) {
      Counter counter(made, 60, threads, kLosses);
      CHECK(counter.all(60, padding_first ? moe::Batch{.mask = mask} : moe::Batch{}) > 0);
      for (const Index tokens : {60, 1, 0, 33, 60}) CHECK(counter.all(tokens) == 0);
      CHECK(counter.all(60, {.mask = mask}) == 0);
      counter.x = random_matrix<float>(60, 40, 2);
      counter.layer.router().weight.value *= 30;  // few experts take almost everything
      CHECK(counter.all(60) == 0);
      if constexpr (requires { counter.layer.set_capacity({}); }) {
        counter.layer.set_capacity({});
        CHECK(counter.all(60) == 0);
      }
    }
  };
  for (const Index size : {1, 3}) {
    INFO(size << " threads");
    Threads threads(size);
    for (const Index experts : {3, 12}) {
      const ShapeSizes sizes{40, 50, experts, 2, 21, {.factor = 0.5}};
      check(make_dense<Dense<float>>(40, 50, experts), threads);
      check(make_latent<Latent<float>>(sizes), threads);
      check(make_concat<Concat<float>>(sizes), threads);
    }
  }
}

TEST_CASE("packed shapes allocate nothing later", "[layer][packed_layer][allocation]") {
  const ShapeSizes sizes{40, 50, 5, 2, 21, {.factor = 0.5}};
  const auto check = [](const auto& layer) {
    Threads threads(2);
    const auto packed = moe::pack(layer);
    typename std::remove_cvref_t<decltype(packed)>::Workspace workspace{moe::ExecutorRef(threads)};
    Matrix<float> y(60, output_dim_of(layer));
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      const Matrix<float> x = random_matrix<float>(60, 40, seed);
      const long count = allocations_in([&] { packed.forward(x, y, workspace); });
      CHECK((seed == 1) == (count > 0));
    }
  };
  check(make_dense<Dense<float>>(40, 50, 5));
  check(make_latent<Latent<float>>(sizes));
  check(make_concat<Concat<float>>(sizes));
}

TEST_CASE("the soft layer allocates nothing while tokens and sequences are not more",
          "[layer][soft][allocation]") {
  const std::vector<Index> lengths = {20, 30, 10}, fewer = {11, 4};
  for (const Index size : {1, 3}) {
    Threads threads(size);
    for (const auto normalization :
         {moe::SoftNormalization::none, moe::SoftNormalization::l2, moe::SoftNormalization::rms}) {
      Counter counter(moe::SoftLayer<float>({.model_dim = 40,
                                             .hidden_dim = 50,
                                             .num_experts = 3,
                                             .slots = 4,
                                             .normalization = normalization,
                                             .noise_stddev = 0.1},
                                            1),
                      60, threads, NoLosses{});
      CHECK(counter.all(60, {.sequence_lengths = lengths}) > 0);
      CHECK(counter.all(60, {.sequence_lengths = lengths}) == 0);
      CHECK(counter.all(15, {.sequence_lengths = fewer}) == 0);
      CHECK(counter.all(0) == 0);
      CHECK(counter.all(60, {.sequence_lengths = lengths}) == 0);
    }
  }
}

TEST_CASE("the soft layer allocates nothing when its longest sequence goes to another thread",
          "[layer][soft][allocation]") {
  std::vector<Index> lengths(20, 30);
  lengths.front() = 300;
  Threads threads(3);
  Counter counter(
      moe::SoftLayer<float>({.model_dim = 40, .hidden_dim = 50, .num_experts = 3, .slots = 4}, 1),
      870, threads, NoLosses{});
  CHECK(counter.all(870, {.sequence_lengths = lengths}) > 0);
  std::swap(lengths.front(), lengths.back());
  CHECK(counter.all(870, {.sequence_lengths = lengths}) == 0);
  const std::vector<Index> few = {300, 200, 10};  // one after the other, each on all threads
  CHECK(counter.all(510, {.sequence_lengths = few}) == 0);
}

TEST_CASE("the hierarchical layer allocates nothing while no group has more rows",
          "[layer][hierarchical][allocation]") {
  for (const Index size : {1, 3}) {
    Threads threads(size);
    Counter counter(make_levels<NoisyLevels<float>>({40, 50, 4, 2, 5, 2}), 60, threads,
                    kLevelLosses);
    const std::vector<Index> lengths = {20, 40}, shorter = {13};
    CHECK(counter.all(60, {.sequence_lengths = lengths}) > 0);
    CHECK(counter.all(60, {.sequence_lengths = lengths}) == 0);
    CHECK(counter.all(13, {.sequence_lengths = shorter}) == 0);
    CHECK(counter.all(0) == 0);
    CHECK(counter.all(60, {.sequence_lengths = lengths}) == 0);
  }
}

}  // namespace moe_test
#endif
