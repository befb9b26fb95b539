// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The limit of arithmetic, measured in this process: multiply-adds per second.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <map>
#include <memory>
#include <tuple>

#include "machine.hpp"
#include "moe/core/thread_pool.hpp"
#include "moe/kernel/isa.hpp"
#include "peers/contestant.hpp"

namespace bench {

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The pool of a thread count; shared by everything in the program, so that no two pools spin.
inline moe::ThreadPool& pool(int threads) {
  static std::map<int, std::unique_ptr<moe::ThreadPool>> pools;
  auto& found = pools[threads];
  if (!found) found = std::make_unique<moe::ThreadPool>(threads);
  return *found;
}

/// Largest of `trials` rates, work / time, of f(thread) on all threads: what the machine can do
/// when nothing disturbs it.
template <class F>
double best_rate(int threads, int trials, double work, const F& f) {
  double best = 0;
  for (int trial = 0; trial < trials; ++trial) {
    const double start = seconds_now();
    pool(threads).run(f);
    best = std::max(best, work / (seconds_now() - start));
  }
  return best;
}

// Twelve independent chains of `op` on registers `r`, none of it left to the compiler's mood. The
// values are ordinary numbers: zeros would draw less power and raise the clock.
#define MOE_BENCH_CHAIN(op, r, i) op " %%" r "12, %%" r "13, %%" r i "\n\t"
#define MOE_BENCH_CHAINS(op, r)                                                                    \
  asm volatile(                                                                                    \
      "vbroadcastss %1, %%" r "12\n\tvbroadcastss %1, %%" r                                        \
      "13\n\t"                                                                                     \
      "1:\n\t" MOE_BENCH_CHAIN(op, r, "0") MOE_BENCH_CHAIN(op, r, "1") MOE_BENCH_CHAIN(op, r, "2") \
          MOE_BENCH_CHAIN(op, r, "3") MOE_BENCH_CHAIN(op, r, "4") MOE_BENCH_CHAIN(op, r, "5")      \
              MOE_BENCH_CHAIN(op, r, "6") MOE_BENCH_CHAIN(op, r, "7") MOE_BENCH_CHAIN(op, r, "8")  \
                  MOE_BENCH_CHAIN(op, r, "9") MOE_BENCH_CHAIN(op, r, "10")                         \
                      MOE_BENCH_CHAIN(op, r, "11") "dec %0\n\tjnz 1b\n\tvzeroupper"                \
      : "+r"(steps)                                                                                \
      : "m"(value)                                                                                 \
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",      \
        "xmm10", "xmm11", "xmm12", "xmm13")

/// `steps` rounds of multiply-adds on one thread; returns flops per round.
inline double multiply_add([[maybe_unused]] moe::Isa isa, [[maybe_unused]] Dtype dtype,
                           long steps) {
#if MOE_HAVE_X86
  // As a float and as two bfloat16, in [0.97, 0.98] each way.
  const float value = std::bit_cast<float>(0x3F7A3F7Au);
  if (isa == moe::Isa::avx512_bf16 && dtype == Dtype::bf16) {
    MOE_BENCH_CHAINS("vdpbf16ps", "zmm");
    return 12 * 64;
  }
  if (isa == moe::Isa::avx512 || isa == moe::Isa::avx512_bf16) {
    MOE_BENCH_CHAINS("vfmadd231ps", "zmm");
    return 12 * 32;
  }
  if (isa == moe::Isa::avx2) {
    MOE_BENCH_CHAINS("vfmadd231ps", "ymm");
    return 12 * 16;
  }
#endif
  // What the compiler makes of plain code for the build's baseline.
  float sum[48], factor = 0.98f, term = 0.98f;
  std::fill_n(sum, 48, 1.0f);
  asm volatile("" : "+m"(factor), "+m"(term));
  for (long step = 0; step < steps; ++step) {
    for (float& s : sum) s = s * factor + term;
  }
  asm volatile("" ::"m"(sum));
  return 48 * 2;
}
#undef MOE_BENCH_CHAINS
#undef MOE_BENCH_CHAIN

/// Flops per second of `threads` threads: dpbf16 where bf16 is asked for and the active instruction
/// set has it, float32 FMA otherwise.
inline double peak_flops(Dtype dtype, int threads) {
  static std::map<std::tuple<moe::Isa, Dtype, int>, double> known;
  const moe::Isa isa = moe::active_isa();
  double& peak = known[{isa, dtype, threads}];
  if (peak == 0) {
    const long steps = 500'000;
    const double work = multiply_add(isa, dtype, 1) * static_cast<double>(steps) * threads;
    peak = best_rate(threads, 100, work, [&](Index) { multiply_add(isa, dtype, steps); });
  }
  return peak;
}

}  // namespace bench
