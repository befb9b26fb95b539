// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The steady state allocates nothing, in inference and in training.
#include "support/allocations.hpp"

#include "moe/moe.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"
#include "support/trained.hpp"

#if MOE_TEST_COUNTS_ALLOCATIONS
namespace moe_test {
namespace {

template <class S>
using Gated = LayerOf<S, moe::GatedFfn<S>>;
template <class S>
using Plain = LayerOf<S, moe::Ffn<S>>;

/// Allocations of each way to call a layer with the first `tokens` rows of x.
template <class Layer>
struct Counter {
  using S = typename Layer::Scalar;
  Layer layer;
  Matrix<S> x, y, dx;
  typename Layer::Workspace workspace;
  typename Layer::Tape tape;
  moe::RoutingStats stats;

  Counter(const Case& c, moe::ExecutorRef executor)
      : layer(make_layer<Layer>(c)),
        x(random_matrix<S>(c.t, c.d, 1)),
        y(c.t, c.d),
        dx(c.t, c.d),
        workspace(executor),
        tape(executor) {}

  long forward(Index tokens, const moe::Batch& batch = {}) {
    return allocations_in(
        [&] { layer.forward(x.topRows(tokens), y.topRows(tokens), workspace, batch); });
  }
  long training_forward(Index tokens, const moe::Batch& batch = {}) {
    return allocations_in([&] {
      layer.forward(x.topRows(tokens), y.topRows(tokens), tape, batch);
      tape.add_loss(moe::SwitchLoss{});
      tape.add_loss(moe::RouterZLoss{});
    });
  }
  long backward(Index tokens) {
    return allocations_in([&] { layer.backward(x.topRows(tokens), dx.topRows(tokens), tape); });
  }
  long statistics() {
    return allocations_in([&] { routing_stats(workspace.routing, workspace.plan, stats); });
  }
  long all(Index tokens, const moe::Batch& batch = {}) {
    const long inference = forward(tokens, batch) + statistics();
    return inference + training_forward(tokens, batch) + backward(tokens);
  }
};

const Case kCases[] = {{.t = 1, .d = 17, .h = 23, .e = 5, .k = 2},
                       {.t = 80, .d = 40, .h = 70, .e = 6, .k = 2},
                       {.t = 64, .d = 16, .h = 9, .e = 65, .k = 4, .renormalize = false},
                       {.t = 50, .d = 12, .h = 8, .e = 4, .k = 2, .capacity = 0.6}};

}  // namespace

TEST_CASE("the counter sees every kind of allocation", "[layer][allocation]") {
  struct alignas(128) Wide {
    char bytes[128];
  };
  CHECK(allocations_in([] {}) == 0);
  static std::atomic<void*> escape;  // or the compiler leaves a pair of new and delete out
  const auto make = [](auto* object) {
    escape = object;
    delete object;
  };
  CHECK(allocations_in([&] { make(new int(1)); }) > 0);
  CHECK(allocations_in([&] { make(new Wide()); }) > 0);
  const auto fill = [](Index i) {
    std::vector<Index> numbers{i};
    escape = numbers.data();
  };
  CHECK(allocations_in([&] { fill(1); }) > 0);
  CHECK(allocations_in([] { Matrix<float> m(100, 100); }) > 0);
  CHECK(allocations_in([] { moe::Buffer<float>().resize(3); }) > 0);
  CHECK(allocations_in([] { Eigen::internal::aligned_free(Eigen::internal::aligned_malloc(64)); }) >
        0);
  Threads threads(3);
  CHECK(allocations_in([&] { threads.run([](Index) {}); }) == 0);
  CHECK(allocations_in([&] { threads.run(fill); }) == 3);
}

TEMPLATE_TEST_CASE("the second and later calls allocate nothing", "[layer][allocation]",
                   Gated<float>, Gated<double>, Plain<float>, Plain<double>) {
  for (const Case& c : kCases) {
    for (const Index size : {1, 3}) {
      INFO(c << " threads " << size);
      Threads threads(size);
      Counter<TestType> counter(c, threads);
      CHECK(counter.all(c.t) > 0);
      for (const Index tokens : {c.t, c.t / 2, Index{1}, Index{0}, c.t - 1, c.t}) {
        INFO(tokens << " tokens");
        CHECK(counter.forward(tokens) == 0);
        CHECK(counter.statistics() == 0);
        CHECK(counter.training_forward(tokens) == 0);
        CHECK(counter.backward(tokens) == 0);
      }
    }
  }
}

TEMPLATE_TEST_CASE("other tokens and other choices allocate nothing either", "[layer][allocation]",
                   Gated<float>, Gated<double>) {
  for (const Case& c : kCases) {
    for (const Index size : {1, 3}) {
      INFO(c << " threads " << size);
      Threads threads(size);
      Counter<TestType> counter(c, threads);
      counter.all(c.t);
      for (std::uint64_t seed = 2; seed < 6; ++seed) {
        counter.x = random_matrix<typename TestType::Scalar>(c.t, c.d, seed);
        CHECK(counter.all(c.t) == 0);
      }
      counter.layer.router().bias.value(0, c.e - 1) += 30;  // everybody to one expert
      CHECK(counter.all(c.t) == 0);
    }
  }
}

TEMPLATE_TEST_CASE("more work at the same number of tokens allocates nothing",
                   "[layer][allocation]", Gated<float>, Gated<double>) {
  for (const Case& c : kCases) {
    INFO(c);
    Threads threads(2);
    // First almost everything is padding, then nothing is.
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(c.t), 0);
    mask.front() = 1;
    Counter<TestType> padded(c, threads);
    padded.all(c.t, {.mask = mask});
    CHECK(padded.all(c.t, {.mask = mask}) == 0);
    CHECK(padded.forward(c.t) == 0);
    CHECK(padded.training_forward(c.t) == 0);
    CHECK(padded.backward(c.t) == 0);
    // First almost everything is dropped, then nothing is.
    Counter<TestType> tight(c, threads);
    tight.layer.set_capacity({.factor = 1e-3});
    tight.all(c.t);
    tight.layer.set_capacity({});
    CHECK(tight.forward(c.t) == 0);
    CHECK(tight.training_forward(c.t) == 0);
    CHECK(tight.backward(c.t) == 0);
    // The same with weights on the experts' input, which goes through rows of their own.
    Counter<TestType> on_input(c, threads);
    on_input.layer.gate() = moe::TopKGate({c.d, c.h, c.e, c.k}, {.weight_on_input = true});
    on_input.all(c.t, {.mask = mask});
    CHECK(on_input.forward(c.t) == 0);
    CHECK(on_input.training_forward(c.t) == 0);
    CHECK(on_input.backward(c.t) == 0);
  }
}

}  // namespace moe_test
#endif
