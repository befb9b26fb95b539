// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The kernels alone, on one thread: y = x w^T by every instruction set, with weights as they are and
// packed, over row counts from decode to prefill. share_of_peak is of the FMA (or dpbf16) rate that the
// same instruction set reaches in this process, share_of_bandwidth of its read bandwidth.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bandwidth.hpp"
#include "main.hpp"
#include "moe/kernel/linear.hpp"

namespace bench {
namespace {

enum class Weights { as_is, packed, packed_bf16 };

struct Gemm {
  moe::Isa isa;
  Weights weights;
  Index rows, cols, depth;

  std::string name() const {
    constexpr const char* kinds[] = {"as_is", "packed", "packed_bf16"};
    return std::string("gemm/") + std::string(moe::isa_name(isa)) + "/" +
           kinds[static_cast<int>(weights)] + "/M:" + std::to_string(rows) +
           "/N:" + std::to_string(cols) + "/K:" + std::to_string(depth);
  }
};

/// Enough copies of the weights that a call finds none of them in a cache.
struct Operands {
  moe::Matrix<float> x, y;
  std::vector<moe::Matrix<float>> w;
  std::vector<moe::PackedLinear<float>> packed;

  explicit Operands(const Gemm& g) : x(g.rows, g.depth), y(g.rows, g.cols) {
    x.setRandom();
    const std::size_t bytes = static_cast<std::size_t>(g.cols * g.depth) * sizeof(float);
    const std::size_t copies = g.rows > 16 ? 1 : 1 + 4 * last_level_cache_bytes() / bytes;
    for (std::size_t i = 0; i < copies; ++i) {
      w.push_back(moe::Matrix<float>::Random(g.cols, g.depth));
      if (g.weights == Weights::as_is) continue;
      packed.emplace_back(moe::MatrixView<const float>(w.back()), g.weights == Weights::packed
                                                                      ? moe::WeightType::native
                                                                      : moe::WeightType::bfloat16);
      w.clear();
    }
  }
};

void run(benchmark::State& state, const Gemm& g) {
  const moe::Isa before = moe::active_isa();
  moe::set_isa(g.isa);
  Operands o(g);
  moe::LinearScratch<float> scratch;
  std::size_t i = 0;
  std::vector<double> times;
  for (auto _ : state) {
    const double start = seconds_now();
    if (g.weights == Weights::as_is) {
      moe::linear_forward<float>(o.x, o.w[i++ % o.w.size()], nullptr, o.y, scratch, {});
    } else {
      moe::linear_forward<float>(o.x, o.packed[i++ % o.packed.size()], nullptr, o.y, scratch, {});
    }
    times.push_back(seconds_now() - start);
  }
  const auto middle = times.begin() + std::ssize(times) / 2;
  std::nth_element(times.begin(), middle, times.end());
  const double seconds = *middle;
  const bool bf16 = g.weights == Weights::packed_bf16;
  const double flops = 2.0 * static_cast<double>(g.rows) * static_cast<double>(g.cols * g.depth);
  const double bytes = static_cast<double>(g.cols * g.depth) * (bf16 ? 2.0 : 4.0);
  // Measured here, not remembered: another instruction set has another peak.
  const long steps = 500'000;
  const Dtype dtype = bf16 ? Dtype::bf16 : Dtype::f32;
  const double peak = best_rate(1, 20, multiply_add(g.isa, dtype, 1) * static_cast<double>(steps),
                                [&](Index) { multiply_add(g.isa, dtype, steps); });
  state.counters["gflops"] = flops / seconds * 1e-9;
  state.counters["share_of_peak"] = flops / seconds / peak;
  if (g.rows <= 16) {  // above, the weights stay in the cache
    state.counters["share_of_bandwidth"] = bytes / seconds / read_bandwidth(1);
  }
  moe::set_isa(before);
}

}  // namespace

void add_benchmarks() {
  for (moe::Isa isa : moe::available_isas()) {
    if (isa == moe::Isa::scalar) continue;
    for (Weights weights : {Weights::as_is, Weights::packed, Weights::packed_bf16}) {
      if (weights == Weights::packed_bf16 && isa != moe::Isa::avx512_bf16) continue;
      for (Index rows : {1, 4, 16, 32, 128, 512}) {
        const Gemm g{isa, weights, rows, 2048, 2048};
        benchmark::RegisterBenchmark(g.name().c_str(), run, g)->Unit(benchmark::kMicrosecond);
      }
    }
  }
}

}  // namespace bench
