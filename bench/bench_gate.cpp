// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Router, gate and plan alone, per token, for 8 to 512 experts.
#include "inputs.hpp"
#include "main.hpp"
#include "moe/moe.hpp"
#include "peaks.hpp"

namespace bench {
namespace {

/// A batch in front of a router of `experts` outputs; K grows with E as it does in published
/// models.
struct Stages {
  static constexpr Index kModelDim = 2048;

  moe::Random random{5};
  moe::LinearRouter<float> router;
  moe::TopKGate gate;
  moe::LinearRouter<float>::State router_state;
  moe::TopKGate::State gate_state;
  moe::Matrix<float> x, logits;
  moe::Routing<float> routing;
  moe::Plan plan;

  Stages(Index experts, Index tokens)
      : Stages(moe::Dims{kModelDim, 1, experts, std::min<Index>(8, experts / 4)}, tokens) {}

  Stages(const moe::Dims& dims, Index tokens) : router(dims, {}, random), gate(dims, {}) {
    x.resize(tokens, kModelDim);
    fill_uniform(9, 3.0f, x.data(), x.size());
    logits.resize(tokens, dims.num_experts);
    routing.resize(tokens, dims.top_k, dims.num_experts);
    route();
    choose();
    group();
  }

  void route() { router.forward(x, logits, {}, router_state, {}); }
  void choose() { gate.forward(moe::MatrixView<const float>(logits), routing, {}, gate_state); }
  void group() { moe::make_plan(routing, {}, {}, plan); }
};

void run(benchmark::State& state, void (Stages::*stage)(), Index experts, Index tokens) {
  Stages stages(experts, tokens);
  const double start = seconds_now();
  for (auto _ : state) (stages.*stage)();
  const double seconds = (seconds_now() - start) / static_cast<double>(state.iterations());
  state.counters["ns_per_token"] = seconds * 1e9 / static_cast<double>(tokens);
  if (stage == &Stages::route) {
    const double flops = 2.0 * static_cast<double>(tokens * experts * Stages::kModelDim);
    state.counters["flops_share"] = flops / seconds / peak_flops(Dtype::f32, 1);
  }
}

}  // namespace

void add_benchmarks() {
  const auto add = [](const std::string& name, void (Stages::*stage)(), Index e, Index t) {
    benchmark::RegisterBenchmark(
        (name + "/E:" + std::to_string(e) + "/T:" + std::to_string(t)).c_str(),
        [=](benchmark::State& state) { run(state, stage, e, t); })
        ->Unit(benchmark::kMicrosecond);
  };
  for (const Index e : {8, 16, 32, 64, 128, 256, 512}) {
    for (const Index t : {1, 512}) {
      add("router", &Stages::route, e, t);
      add("gate", &Stages::choose, e, t);
      add("plan", &Stages::group, e, t);
    }
  }
}

}  // namespace bench
