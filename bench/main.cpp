// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// main of every program: says what it runs on, with the limits it measured, then runs the rows.
#include "main.hpp"

#include <sstream>

#include "bandwidth.hpp"

namespace {

void add(const std::string& key, const std::string& value) {
  benchmark::AddCustomContext(key, value);
}

void add_limits(int threads) {
  std::ostringstream text;
  text.precision(3);
  text << bench::peak_flops(bench::Dtype::f32, threads) * 1e-9 << " GFLOP/s float32, "
       << bench::peak_flops(bench::Dtype::bf16, threads) * 1e-9 << " bfloat16, "
       << bench::read_bandwidth(threads) * 1e-9 << " GB/s read";
  add("limits threads:" + std::to_string(threads), text.str());
}

void add_environment() {
  add("cpu", bench::cpu_name());
  add("last_level_cache", std::to_string(bench::last_level_cache_bytes() >> 20) + " MiB");
  add("compiler", bench::compiler_name());
  add("isa", std::string(moe::isa_name(moe::active_isa())));
  for (const char* name :
       {"MOE_FORCE_ISA", "MOE_BENCH_ZIPF", "OMP_WAIT_POLICY", "GLIBC_TUNABLES"}) {
    if (const char* value = std::getenv(name)) add(name, value);
  }
}

bool only_lists(int argc, char** argv) {
  return std::any_of(argv, argv + argc, [](const char* argument) {
    return std::string_view(argument).find("list_tests") != std::string_view::npos;
  });
}

}  // namespace

int main(int argc, char** argv) {
  const bool measure = !only_lists(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  add_environment();
  if (measure) {
    add_limits(1);
    add_limits(2);
  }
  bench::add_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
