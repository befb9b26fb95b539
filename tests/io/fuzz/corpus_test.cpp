// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The fuzzer's corpus as an ordinary test: in the sanitizer build, what it found stays found.
#include "io/fuzz/safetensors_target.hpp"
#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

TEST_CASE("every file of the fuzzer's corpus is read or refused") {
  std::size_t files = 0;
  const std::filesystem::path corpus = MOE_TEST_DATA_DIR "/io/fuzz/corpus";
  for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
    const std::string bytes = moe_test::file_bytes(entry.path());
    INFO(entry.path().string());
    CHECK_NOTHROW(moe_test::run_safetensors_target(
        reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()));
    ++files;
  }
  CHECK(files > 50);
}
