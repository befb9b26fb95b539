// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// dispatch() and combine(), the kernels for experts of the user's own, against memcpy of as many
// bytes.
#include "inputs.hpp"
#include "main.hpp"
#include "moe/moe.hpp"
#include "peaks.hpp"

namespace bench {
namespace {

/// `row_count` slots of tokens that draw K of 4 K experts each.
struct Case {
  moe::Plan plan;
  moe::Matrix<float> x, rows, drows, y, original, copy;
  std::vector<float> weight, dweight;

  Case(Index row_count, Index k, Index dim) {
    const Index tokens = row_count / k, experts = 4 * k;
    moe::Routing<float> routing;
    routing.resize(tokens, k, experts);
    moe::Random random(3);
    for (Index t = 0; t < tokens; ++t) {
      for (Index j = 0; j < k; ++j) {  // one of four each, in an order of the gate's liking
        const Index at = (j + t) % k;
        routing.expert(t, at) =
            static_cast<std::int32_t>(4 * j) + static_cast<std::int32_t>(random.below(4));
        routing.weight(t, at) = 1.0f / static_cast<float>(k);
      }
    }
    moe::make_plan(routing, {}, {}, plan);
    weight.resize(static_cast<std::size_t>(row_count));
    dweight.resize(weight.size());
    moe::gather_slot_weights<float>(routing, plan, weight);
    x.setRandom(tokens, dim);
    y.setZero(tokens, dim);
    rows.setRandom(row_count, dim);
    drows.setZero(row_count, dim);
    original.setRandom(row_count, dim);
    copy.setZero(row_count, dim);
  }
};

double median(std::vector<double>& values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Seconds per call of `f`, of `calls` in a row.
template <class F>
double time_calls(Index calls, const F& f) {
  const double start = seconds_now();
  for (Index i = 0; i < calls; ++i) {
    f();
    benchmark::ClobberMemory();
  }
  return (seconds_now() - start) / static_cast<double>(calls);
}

/// `bytes`: what one call reads and writes, every row counted each time it is touched. Calls and
/// memcpy of as many bytes take turns, so that both meet the same machine.
template <class F>
void measure(benchmark::State& state, Case& c, Index bytes, int threads, const F& call) {
  const Index calls = std::max<Index>(1, (Index{16} << 20) / bytes);
  const Index copied = std::min<Index>(bytes / 2, c.copy.size() * Index{sizeof(float)});
  std::vector<double> ours, copies;
  for (auto _ : state) {
    ours.push_back(time_calls(calls, call));
    copies.push_back(time_calls(calls, [&] {
      pool(threads).run([&](Index i) {  // each thread its part, as our kernels do
        const Index begin = copied * i / threads, end = copied * (i + 1) / threads;
        std::memcpy(reinterpret_cast<char*>(c.copy.data()) + begin,
                    reinterpret_cast<const char*>(c.original.data()) + begin,
                    static_cast<std::size_t>(end - begin));
      });
    }));
    state.SetIterationTime(ours.back() * static_cast<double>(calls));
  }
  const double rate = static_cast<double>(bytes) / median(ours);
  state.counters["us_per_call"] = median(ours) * 1e6;
  state.counters["gb_per_s"] = rate * 1e-9;
  state.counters["memcpy_share"] = rate * median(copies) / static_cast<double>(2 * copied);
}

enum class Kernel { dispatch, combine, dispatch_backward, combine_backward };

void run(benchmark::State& state, Kernel kernel, Index rows, Index k, Index dim, int threads) {
  Case c(rows, k, dim);
  const Index tokens = c.plan.tokens, row = dim * static_cast<Index>(sizeof(float));
  moe::ExecutorRef executor = pool(threads);
  switch (kernel) {
    case Kernel::dispatch:
      return measure(state, c, 2 * rows * row, threads,
                     [&] { moe::dispatch<float>(c.x, c.plan, c.rows, executor); });
    case Kernel::combine:
      return measure(state, c, (rows + tokens) * row, threads,
                     [&] { moe::combine<float>(c.rows, c.plan, c.weight, c.y, executor); });
    case Kernel::dispatch_backward:
      return measure(state, c, (rows + 2 * tokens) * row, threads,
                     [&] { moe::dispatch_backward<float>(c.rows, c.plan, c.y, executor); });
    case Kernel::combine_backward:
      return measure(state, c, (2 * rows + tokens) * row, threads, [&] {
        moe::combine_backward<float>(c.x, c.rows, c.plan, c.weight, c.drows, c.dweight, executor);
      });
  }
}

}  // namespace

void add_benchmarks() {
  const auto add = [](const char* name, Kernel kernel, Index rows, Index k, Index dim,
                      int threads) {
    const std::string full = name + ("/D:" + std::to_string(dim)) + "/K:" + std::to_string(k) +
                             "/rows:" + std::to_string(rows) +
                             "/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(
        full.c_str(), [=](benchmark::State& state) { run(state, kernel, rows, k, dim, threads); })
        ->Unit(benchmark::kMicrosecond)
        ->UseManualTime();
  };
  const auto add_all = [&](Index rows, Index k, Index dim, int threads) {
    add("dispatch", Kernel::dispatch, rows, k, dim, threads);
    add("combine", Kernel::combine, rows, k, dim, threads);
    add("dispatch_backward", Kernel::dispatch_backward, rows, k, dim, threads);
    add("combine_backward", Kernel::combine_backward, rows, k, dim, threads);
  };
  for (const auto& [dim, k] : {std::pair<Index, Index>{768, 1}, {2048, 2}, {2048, 8}}) {
    for (const Index rows : {8, 64, 512, 4096, 16384}) add_all(rows, k, dim, 1);
  }
  for (const Index rows : {512, 16384}) add_all(rows, 8, 2048, 2);
}

}  // namespace bench
