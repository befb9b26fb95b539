// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer whose experts are partly identity, zero or constant experts: time falls with their share,
// since they cost no product. Row "plain" is the same layer without AnyOf around its FFNs.
#include "inputs.hpp"
#include "main.hpp"
#include "moe/moe.hpp"
#include "runners.hpp"

namespace bench {
namespace {

constexpr Index kModelDim = 768, kHiddenDim = 2048, kExperts = 8, kTopK = 2, kTokens = 512;

using Ffn = moe::GatedFfn<float>;
using Any = moe::AnyOf<float, Ffn, moe::IdentityExpert<float>, moe::ZeroExpert<float>,
                       moe::ConstantExpert<float>>;

template <class X>
using Layer = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, X>;

template <class X>
typename Layer<X>::Config config() {
  return {
      .model_dim = kModelDim, .hidden_dim = kHiddenDim, .num_experts = kExperts, .top_k = kTopK};
}

/// Forward with packed weights, or a training step.
template <class X>
void run(benchmark::State& state, const Layer<X>& built, bool training, int threads) {
  Layer<X> layer = built;
  const auto packed = moe::pack(layer);
  moe::Matrix<float> x(kTokens, kModelDim), y = x, dx = x;
  fill_uniform(77, std::sqrt(3.0F), x.data(), x.size());
  const moe::ExecutorRef executor =
      threads == 1 ? moe::ExecutorRef() : moe::ExecutorRef(pool(threads));
  typename std::remove_const_t<decltype(packed)>::Workspace workspace(executor);
  typename Layer<X>::Tape tape(executor);
  const auto step = [&] {
    if (training) {
      layer.forward(x, y, tape);
      layer.backward(x, dx, tape);
    } else {
      packed.forward(x, y, workspace);
    }
    benchmark::DoNotOptimize(y.data());
  };
  step();  // the first one takes its memory, gradients included
  for (auto _ : state) step();
  state.counters["tokens_per_s"] = benchmark::Counter(
      static_cast<double>(kTokens), benchmark::Counter::kIsIterationInvariantRate);
}

template <class Kind>
void add_rows(const std::string& kind) {
  for (const bool training : {false, true}) {
    for (const Index special : {0, 2, 4, 6, 8}) {
      const std::string name = std::string("kinds/") + (training ? "training/" : "layer/") + kind +
                               ":" + std::to_string(100 * special / kExperts) +
                               "%/T:" + std::to_string(kTokens) + "/threads:1";
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        auto c = config<Any>();
        c.expert.template add<Ffn>(kExperts - special).template add<Kind>(special);
        run<Any>(state, Layer<Any>(c, 1), training, 1);
      })->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace

void add_benchmarks() {
  for (const bool training : {false, true}) {
    const std::string name = std::string("kinds/") + (training ? "training" : "layer") +
                             "/plain/T:" + std::to_string(kTokens) + "/threads:1";
    benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
      run<Ffn>(state, Layer<Ffn>(config<Ffn>(), 1), training, 1);
    })->Unit(benchmark::kMillisecond);
  }
  add_rows<moe::IdentityExpert<float>>("identity");
  add_rows<moe::ZeroExpert<float>>("zero");
  add_rows<moe::ConstantExpert<float>>("constant");
}

}  // namespace bench
