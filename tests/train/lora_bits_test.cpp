// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "support/allocations.hpp"

#include "moe/expert/any_of.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"
#include "train/lora_cases.hpp"

namespace moe_test {

TEST_CASE("Adapters: the same bits whatever the threads and the batch", "[train][lora]") {
  auto layer = adapted_layer<moe::GatedFfn<float>>();
  const Matrix<float> x = random_matrix<float>(300, 6, 5), dy = random_matrix<float>(300, 6, 6);
  const Step<float> serial = train_step(layer, x, dy);
  using Tape = typename decltype(layer)::Tape;
  for (const Index threads : {2, 3, 4}) {
    Threads pool(threads);
    Tape tape{moe::ExecutorRef(pool)};
    CHECK(same_bits(train_step(layer, x, dy, tape), serial));
  }
  const Matrix<float> some = x.middleRows(100, 7);
  CHECK(same_bits(output(layer, some), Matrix<float>(serial.y.middleRows(100, 7))));
}

TEST_CASE("From the second call on, a forward with adapters allocates nothing", "[train][lora]") {
  auto layer = adapted_layer<moe::GatedFfn<float>>();
  const Matrix<float> x = random_matrix<float>(40, 6, 5), other = random_matrix<float>(40, 6, 7);
  Matrix<float> y(40, 6);
  typename decltype(layer)::Workspace workspace;
  layer.forward(x, y, workspace);
  CHECK(allocations_in([&] { layer.forward(other, y, workspace); }) == 0);
  const Matrix<float> few = x.topRows(3);
  CHECK(allocations_in([&] { layer.forward(few, y.topRows(3), workspace); }) == 0);
}

#if MOE_TEST_COUNTS_ALLOCATIONS
namespace {

/// The same experts as one kind of two.
auto mixed(const decltype(adapted_layer<moe::GatedFfn<float>>())& layer) {
  using Any = moe::AnyOf<float, moe::GatedFfn<float>, moe::LoraFfn<moe::GatedFfn<float>>>;
  std::vector<Any> experts;
  for (Index e = 0; e < layer.num_experts(); ++e) experts.emplace_back(layer.expert(e));
  experts[2] = layer.expert(2).base();
  return moe::MoeLayer<float, moe::LoraRouter<float>, moe::TopKGate, Any>(
      layer.router(), layer.gate(), std::move(experts));
}

/// Three threads, and the allocations while they run.
struct CountingThreads {
  Threads threads{3};
  long count = 0, runs = 0;
  Index size() const { return threads.size(); }
  template <class F>
  void run(F&& f) {
    ++runs;
    count += allocations_in([&] { threads.run(f); });
  }
};

template <class Layer>
void check_allocations(Layer layer) {
  for (const Index size : {1, 3}) {
    INFO("threads " << size);
    Threads threads(size);
    const Matrix<float> dy = random_matrix<float>(600, 6, 6);
    Matrix<float> x = random_matrix<float>(600, 6, 5), y(600, 6), dx(600, 6);
    typename Layer::Tape tape(threads);
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
    layer.router().base.bias.value(0, 3) -= 30;
  }
}

}  // namespace

TEST_CASE("Adapters allocate nothing for other choices than before", "[train][lora][allocation]") {
  const auto layer = adapted_layer<moe::GatedFfn<float>>();
  check_allocations(layer);
  check_allocations(mixed(layer));
}

TEST_CASE(
    "Experts of several kinds make the weights of those with rows, in memory allocated before",
    "[train][lora][allocation]") {
  using Lora = moe::LoraFfn<moe::GatedFfn<float>>;
  using Any = moe::AnyOf<float, moe::GatedFfn<float>, Lora>;
  const moe::Dims dims{.model_dim = 128, .hidden_dim = 160, .num_experts = 12, .top_k = 2};
  moe::Random random(2);
  std::vector<Any> experts;
  for (Index e = 0; e < 12; ++e) experts.emplace_back(Lora(dims, {.lora = {.rank = 2}}, random));
  LayerOf<float, Any> layer(moe::LinearRouter<float>(dims, {}, random), moe::TopKGate(dims, {}),
                            std::move(experts));
  const Matrix<float> x = random_matrix<float>(2, 128, 5), dy = random_matrix<float>(2, 128, 6);
  Matrix<float> y(2, 128), dx(2, 128);
  CountingThreads threads;
  decltype(layer)::Tape tape(threads);
  layer.forward(x, y, tape);
  CHECK(threads.runs > 0);
  CHECK(threads.count == 0);
  Index used = 0;
  for (Index e = 0; e < 12; ++e) used += tape.plan.load(e) > 0;
  const auto& adapted = tape.experts.runs.grouped.front().adapted;
  CHECK(adapted.size() == used * 3 * 128 * 160);
  CHECK(adapted.capacity() == 4 * 3 * 128 * 160);  // two tokens have four experts at most
  layer.backward(dy, dx, tape);
  CHECK(threads.count == 0);
}
#endif

}  // namespace moe_test
