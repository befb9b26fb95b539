// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The synthetic checkpoints and what an independent implementation computes from them.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "moe/io/checkpoint.hpp"

namespace moe_test {

using moe::Index;

/// One folder under tests/io/checkpoints.
struct CheckpointCase {
  std::string name;
  std::filesystem::path folder;
  moe::Matrix<float> x;
  moe::Matrix<double> logits, weights, y;
  moe::Matrix<std::int32_t> ids;

  explicit CheckpointCase(const std::filesystem::path& path)
      : name(path.filename().string()), folder(path) {
    const moe::SafeTensors file(path / "expected.safetensors");
    const auto read = [&](const char* tensor, auto& m) {
      m.resize(file.at(tensor).rows(), file.at(tensor).cols());
      using T = typename std::remove_reference_t<decltype(m)>::Scalar;
      file.read(tensor, moe::MatrixView<T>(m));
    };
    read("x", x);
    read("router_logits", logits);
    read("expert_ids", ids);
    read("expert_weights", weights);
    read("y", y);
  }

  static std::filesystem::path root() {
    return std::filesystem::path(MOE_TEST_DATA_DIR) / "io" / "checkpoints";
  }
  static std::vector<std::string> names() {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(root())) {
      all.push_back(entry.path().filename().string());
    }
    std::sort(all.begin(), all.end());
    return all;
  }
};

/// A copy of a synthetic checkpoint in a folder of its own, to be damaged; gone with the object.
class CheckpointCopy {
 public:
  CheckpointCopy(const std::string& name, const std::string& suffix)
      : folder_(std::filesystem::temp_directory_path() /
                ("moe_checkpoint_" + std::to_string(::getpid()) + "_" + name + "_" + suffix)) {
    std::filesystem::remove_all(folder_);
    std::filesystem::copy(CheckpointCase::root() / name, folder_);
  }
  CheckpointCopy(const CheckpointCopy&) = delete;
  CheckpointCopy& operator=(const CheckpointCopy&) = delete;
  ~CheckpointCopy() { std::filesystem::remove_all(folder_); }

  const std::filesystem::path& folder() const { return folder_; }

  moe::Json config() const { return moe::read_json(folder_ / "config.json"); }
  void set_config(const moe::Json& config) const {
    std::ofstream(folder_ / "config.json") << config.dump();
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace moe_test
