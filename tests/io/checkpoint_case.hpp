// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The synthetic checkpoints and what an independent implementation computes from them.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "io/temporary_folder.hpp"
#include "moe/io/checkpoint.hpp"
#include "moe/io/safetensors_writer.hpp"

namespace moe_test {

using moe::Index;

/// One folder under tests/io/checkpoints.
struct CheckpointCase {
  std::string name;
  std::filesystem::path folder;
  moe::Matrix<float> x;
  moe::Matrix<double> logits, weights, y;
  moe::Matrix<std::int32_t> ids;
  std::vector<std::int64_t> token_ids;  ///< [T], or empty

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
    if (!file.contains("token_ids")) return;
    token_ids.resize(static_cast<std::size_t>(x.rows()));
    file.read("token_ids", moe::MatrixView<std::int64_t>(token_ids.data(), 1, x.rows()));
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

/// A copy of a synthetic checkpoint, to be damaged; gone with the object.
class CheckpointCopy {
 public:
  explicit CheckpointCopy(const std::string& name) {
    for (const auto& entry : std::filesystem::directory_iterator(CheckpointCase::root() / name)) {
      if (entry.path().filename() == "expected.safetensors") continue;
      std::filesystem::copy(entry.path(), folder_ / entry.path().filename().string());
    }
  }

  const std::filesystem::path& folder() const { return folder_.path(); }

  moe::Json config() const { return moe::read_json(folder_ / "config.json"); }
  void set_config(const moe::Json& config) const { folder_.write("config.json", config.dump()); }

  /// Replaces a text of the header by one of the same length.
  void edit_header(const std::string& from, const std::string& to) const {
    std::string bytes = file_bytes(folder_ / "model.safetensors");
    const std::size_t at = bytes.find(from);
    if (at == std::string::npos || from.size() != to.size()) throw std::logic_error(from);
    folder_.write("model.safetensors", bytes.replace(at, from.size(), to));
  }

  struct Tensor {
    moe::TensorSpec spec;
    std::string bytes;
  };
  /// Writes the weights anew after edit(std::vector<Tensor>&).
  template <class F>
  void edit_tensors(F&& edit) const {
    std::vector<Tensor> tensors;
    {
      const moe::SafeTensors file(folder_ / "model.safetensors");
      for (const moe::TensorInfo& t : file.tensors()) {
        const auto* bytes = reinterpret_cast<const char*>(t.bytes.data());
        tensors.push_back({{t.name, t.dtype, t.shape}, {bytes, t.bytes.size()}});
      }
    }
    edit(tensors);
    std::vector<moe::TensorSpec> specs;
    for (const Tensor& t : tensors) specs.push_back(t.spec);
    moe::SafeTensorsWriter writer(folder_ / "model.safetensors", specs);
    for (const Tensor& t : tensors) {
      writer.write(t.spec.name, std::as_bytes(std::span(t.bytes.data(), t.bytes.size())));
    }
    writer.finish();
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace moe_test
