// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer's forward with packed and unpacked weights, and the same experts by the peers this build
// found. One row per contestant, shape, weight type, batch size and thread count; README.md defines
// the counters.
#include "bandwidth.hpp"
#include "group.hpp"
#include "main.hpp"

namespace bench {
namespace {

struct Row {
  std::string contestant;
  Shape shape;
  Dtype dtype;
  Index tokens;
  int threads;

  bool is_ours() const { return contestant == "layer" || contestant == "unpacked"; }

  std::string name() const {
    return (is_ours() ? contestant : "peer/" + contestant) + "/" + std::string(shape.name) + "/" +
           dtype_name(dtype) + "/T:" + std::to_string(tokens) +
           "/threads:" + std::to_string(threads);
  }
};

/// The least the machine can take for the calls of a row, summed.
struct Bounds {
  double flops = 0;
  double bytes = 0;
  double seconds = 0;  ///< of the larger bound of each call

  /// Weights of the experts that the batch needs, once; x once; y once.
  void add(const Row& row, const Batch& batch, bool weights_from_memory) {
    const double flops_now = row.shape.forward_flops(row.tokens);
    const Index weights =
        batch.distinct_experts * row.shape.expert_values() * dtype_bytes(row.dtype);
    const double bytes_now =
        static_cast<double>(weights + 2 * row.tokens * row.shape.model_dim * 4);
    const double arithmetic = flops_now / peak_flops(row.dtype, row.threads);
    const double memory = weights_from_memory ? bytes_now / read_bandwidth(row.threads) : 0;
    flops += flops_now;
    bytes += bytes_now;
    seconds += std::max(arithmetic, memory);
  }
};

/// Seconds of router, gate and plan for one call, as the layer finds its caches: after another call
/// in a cold row, warm otherwise.
double routing_seconds(Group& group, const Row& row) {
  std::vector<double> times;
  const bool cold = group.is_cold(row.tokens);
  const std::size_t inner =
      cold ? 1 : static_cast<std::size_t>(std::max<Index>(1, 2048 / row.tokens));
  for (std::size_t i = 0; i < 9; ++i) {
    if (cold) group.contestant(row.contestant).run(group.call(row.tokens, i));
    const double start = seconds_now();
    for (std::size_t j = 0; j < inner; ++j) {
      group.layers().route(group.batch(row.tokens, i + j + 1), row.tokens, row.threads);
    }
    times.push_back((seconds_now() - start) / static_cast<double>(inner));
  }
  std::nth_element(times.begin(), times.begin() + 4, times.end());
  return times[4];
}

void run(benchmark::State& state, const Row& row) {
  Group& group = Group::get(row.shape, row.dtype);
  Contestant& contestant = group.contestant(row.contestant);
  const double error = group.error(row.contestant, row.tokens, row.threads);
  contestant.set_threads(row.threads);
  group.prepare(row.contestant, row.tokens);
  const bool memory = row.shape.cold;  // such a shape has more weights than the caches hold

  static std::size_t next = 0;  // goes on through repetitions: no batch is favoured
  const std::size_t first = next;
  const double start = seconds_now();
  for (auto _ : state) contestant.run(group.call(row.tokens, next++));
  const double seconds = seconds_now() - start;

  Bounds bounds;
  for (std::size_t i = first; i < next; ++i) bounds.add(row, group.batch(row.tokens, i), memory);
  state.counters["gflops"] = bounds.flops / seconds * 1e-9;
  state.counters["flops_share"] = bounds.flops / seconds / peak_flops(row.dtype, row.threads);
  if (memory) {
    state.counters["bandwidth_share"] = bounds.bytes / seconds / read_bandwidth(row.threads);
  }
  state.counters["bound_share"] = bounds.seconds / seconds;
  state.counters["error"] = error;
  state.counters["prepare_ms"] = group.prepare_seconds(row.contestant) * 1e3;
  if (row.is_ours()) {
    const double call_seconds = seconds / static_cast<double>(next - first);
    state.counters["routing_share"] = routing_seconds(group, row) / call_seconds;
  }
}

void add_row(const Row& row) {
  benchmark::RegisterBenchmark(row.name().c_str(), [row](benchmark::State& state) {
    run(state, row);
  })->Unit(benchmark::kMicrosecond);
}

void add_rows(const Shape& shape, Dtype dtype, Index tokens, int threads) {
  add_row({"layer", shape, dtype, tokens, threads});
  if (dtype == Dtype::f32) add_row({"unpacked", shape, dtype, tokens, threads});
  for (const Peer& peer : kPeers) {
    if (dtype == Dtype::bf16 && !peer.bf16) continue;
    add_row({std::string(peer.name), shape, dtype, tokens, threads});
  }
}

}  // namespace

void add_benchmarks() {
  for (const Shape& shape : kShapes) {
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      for (const Index tokens : shape.tokens) {
        for (const int threads : {1, 2}) add_rows(shape, dtype, tokens, threads);
      }
    }
  }
}

}  // namespace bench
