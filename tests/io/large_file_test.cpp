// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Files far larger than memory, sparse: opening and reading a part must not touch the rest.
#include "io/temporary_folder.hpp"
#include "moe/io/safetensors.hpp"
#include "support/catch.hpp"

namespace {

/// A line of /proc/self/status such as "VmRSS:", in MB.
double memory_mb(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return std::stod(line.substr(key.size())) / 1024;
  }
  return -1;
}

}  // namespace

TEST_CASE("a 20 GB file opens without being read, and a part of it reads without the rest") {
  const moe_test::TemporaryFolder folder;
  constexpr std::size_t kTensors = 1024, kBytes = 2 * 1024 * 10240;  // 20 MB each
  std::string header = "{";
  for (std::size_t i = 0; i < kTensors; ++i) {
    header += (i > 0 ? ",\"w" : "\"w") + std::to_string(i) +
              R"(":{"dtype":"BF16","shape":[1024,10240],"data_offsets":[)" +
              std::to_string(i * kBytes) + "," + std::to_string((i + 1) * kBytes) + "]}";
  }
  const auto path = folder.write("large.safetensors", moe_test::safetensors_bytes(header + "}"));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) + kTensors * kBytes);

  const double before = memory_mb("VmRSS:");
  REQUIRE(before > 0);
  const moe::SafeTensors file(path);
  REQUIRE(file.tensors().size() == kTensors);
  CHECK(memory_mb("VmRSS:") - before < 20);

  // Tensor by tensor with release, memory stays at about one tensor.
  moe::Matrix<float> row(1, 10240);
  double most = 0;
  for (std::size_t i = 0; i < kTensors; i += 100) {
    const moe::TensorInfo& tensor = file.tensors()[i];
    for (moe::Index r = 0; r < tensor.rows(); ++r) {
      moe::SafeTensors::read_block<float>(tensor, r, 0, row);
    }
    most = std::max(most, memory_mb("VmRSS:"));
    file.release(tensor);
  }
  CHECK(row.isZero());
  CHECK(most - before < 60);
  CHECK(memory_mb("VmRSS:") - before < 25);
}
