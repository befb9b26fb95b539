// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// libFuzzer on the safetensors reader (Clang): -fsanitize=fuzzer,address,undefined. See
// CONTRIBUTING.md.
#include "io/fuzz/safetensors_target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  moe_test::run_safetensors_target(data, size);
  return 0;
}
