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

/// `rows` slots on 8 experts, two per token (one when there is one row), experts drawn at random.
struct Case {
  moe::Plan plan;
  moe::Matrix<float> x, rows, y, copy;
  std::vector<float> weight;

  Case(Index row_count, Index dim) {
    const Index k = row_count == 1 ? 1 : 2, tokens = row_count / k, experts = 8;
    moe::Routing<float> routing;
    routing.resize(tokens, k, experts);
    moe::Random random(3);
    for (Index t = 0; t < tokens; ++t) {
      const auto first = static_cast<std::int32_t>(random.below(8));
      routing.expert(t, 0) = first;
      if (k == 2) {
        routing.expert(t, 1) =
            static_cast<std::int32_t>((first + 1 + static_cast<std::int32_t>(random.below(7))) % 8);
      }
      for (Index j = 0; j < k; ++j) routing.weight(t, j) = 0.5f;
    }
    moe::make_plan(routing, {}, {}, plan);
    weight.resize(static_cast<std::size_t>(row_count));
    moe::gather_slot_weights<float>(routing, plan, weight);
    x.setRandom(tokens, dim);
    y.setZero(tokens, dim);
    rows.setRandom(row_count, dim);
    copy.setZero(row_count, dim);
  }
};

/// Bytes read and written per second by memcpy of `bytes`, on the case's own memory: median of 9.
double memcpy_rate(Case& c, std::size_t bytes) {
  std::vector<double> rates;
  const std::size_t calls = std::max<std::size_t>(1, (std::size_t{8} << 20) / bytes);
  for (int trial = 0; trial < 9; ++trial) {
    const double start = seconds_now();
    for (std::size_t i = 0; i < calls; ++i) {
      std::memcpy(c.copy.data(), c.rows.data(), bytes);
      benchmark::ClobberMemory();
    }
    rates.push_back(2.0 * static_cast<double>(bytes * calls) / (seconds_now() - start));
  }
  std::nth_element(rates.begin(), rates.begin() + 4, rates.end());
  return rates[4];
}

/// `bytes`: what one call reads and writes, every row counted each time it is touched.
template <class F>
void measure(benchmark::State& state, Case& c, Index bytes, const F& call) {
  const double start = seconds_now();
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  const double seconds = (seconds_now() - start) / static_cast<double>(state.iterations());
  const double rate = static_cast<double>(bytes) / seconds;
  state.counters["gb_per_s"] = rate * 1e-9;
  state.counters["memcpy_share"] = rate / memcpy_rate(c, static_cast<std::size_t>(bytes / 2));
}

void run_dispatch(benchmark::State& state, Index rows, Index dim) {
  Case c(rows, dim);
  measure(state, c, 2 * rows * dim * 4, [&] { moe::dispatch<float>(c.x, c.plan, c.rows); });
}

void run_combine(benchmark::State& state, Index rows, Index dim) {
  Case c(rows, dim);
  measure(state, c, (rows + c.plan.tokens) * dim * 4,
          [&] { moe::combine<float>(c.rows, c.plan, c.weight, c.y); });
}

}  // namespace

void add_benchmarks() {
  const auto add = [](const std::string& name, auto* run, Index rows, Index dim) {
    benchmark::RegisterBenchmark(
        (name + "/D:" + std::to_string(dim) + "/rows:" + std::to_string(rows)).c_str(),
        [=](benchmark::State& state) { run(state, rows, dim); })
        ->Unit(benchmark::kMicrosecond);
  };
  for (const Index dim : {768, 2048}) {
    for (const Index rows : {1, 8, 64, 512, 4096}) {
      add("dispatch", run_dispatch, rows, dim);
      add("combine", run_combine, rows, dim);
    }
  }
}

}  // namespace bench
