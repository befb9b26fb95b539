// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Memory: a checkpoint far larger than it is opened and described, and a layer is loaded expert by
// expert. The files are sparse, all zeros.
#include "io/checkpoint_case.hpp"
#include "support/catch.hpp"

// The memory of sanitizers would be counted. GCC is asked first, since Eigen defines __has_feature
// as 0 for it.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOE_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MOE_TEST_SANITIZED 1
#endif
#endif

#ifndef MOE_TEST_SANITIZED

using namespace moe_test;

namespace {

/// "VmRSS" or "VmHWM", its highest value, in bytes.
std::size_t memory(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  return 0;
}

/// How much more memory than now the program had at most while f ran.
template <class F>
std::size_t peak_of(F&& f) {
  std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM starts again, where that is allowed
  const std::size_t before = std::max(memory("VmRSS"), memory("VmHWM"));
  f();
  const std::size_t most = memory("VmHWM");
  return most > before ? most - before : 0;
}

/// A Mixtral of these sizes in bfloat16, of which nothing but the header takes room on the disk.
void make_mixtral(const TemporaryFolder& folder, Index d, Index h, Index e, Index layers) {
  std::string header = "{";
  Index at = 0;
  const auto add = [&](const std::string& name, Index rows, Index cols) {
    const auto n = [](Index i) { return std::to_string(i); };
    header += (at == 0 ? "\"" : ",\"") + name + R"(":{"dtype":"BF16","shape":[)" + n(rows) + "," +
              n(cols) + R"(],"data_offsets":[)" + n(at) + "," + n(at + 2 * rows * cols) + "]}";
    at += 2 * rows * cols;
  };
  for (Index layer = 0; layer < layers; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".block_sparse_moe.";
    add(block + "gate.weight", e, d);
    for (Index i = 0; i < e; ++i) {
      const std::string expert = block + "experts." + std::to_string(i) + ".";
      add(expert + "w1.weight", h, d);
      add(expert + "w2.weight", d, h);
      add(expert + "w3.weight", h, d);
    }
  }
  const auto path = folder.write("model.safetensors", safetensors_bytes(header + "}"));
  std::filesystem::resize_file(path,
                               std::filesystem::file_size(path) + static_cast<std::size_t>(at));
  folder.write("config.json", moe::Json{{"model_type", "mixtral"},
                                        {"hidden_size", d},
                                        {"intermediate_size", h},
                                        {"num_local_experts", e},
                                        {"num_experts_per_tok", 2},
                                        {"num_hidden_layers", layers}}
                                  .dump());
}

}  // namespace

TEST_CASE("a checkpoint of 20 GB opens and is described in little memory", "[io][checkpoint]") {
  const TemporaryFolder folder;
  make_mixtral(folder, 4096, 14336, 8, 8);
  REQUIRE(std::filesystem::file_size(folder / "model.safetensors") > std::size_t{20} << 30);
  Index parameters = 0;
  const std::size_t peak = peak_of([&] {
    const moe::Checkpoint checkpoint(folder.path());
    for (const Index n : checkpoint.moe_layers()) parameters += checkpoint.describe(n).parameters;
  });
  CHECK(parameters == 8 * (8 * 3 * Index{4096} * 14336 + 8 * 4096));
  CHECK(peak < std::size_t{20} << 20);
}

TEST_CASE("loading a layer takes its packed weights and one expert", "[io][checkpoint]") {
  const TemporaryFolder folder;
  constexpr Index kDim = 512, kHidden = 1792, kExperts = 12;
  make_mixtral(folder, kDim, kHidden, kExperts, 1);
  const moe::Checkpoint checkpoint(folder.path());
  constexpr std::size_t kExpert = sizeof(float) * 3 * kDim * kHidden;
  for (const auto type : {moe::WeightType::native, moe::WeightType::bfloat16}) {
    std::size_t bytes = 0;
    const std::size_t peak =
        peak_of([&] { bytes = checkpoint.load_layer(0, {.weights = type}).bytes(); });
    CAPTURE(bytes, peak, kExpert);
    CHECK(bytes >= kExpert * kExperts / (type == moe::WeightType::native ? 1 : 2));
    CHECK(peak <= bytes + kExpert + (std::size_t{4} << 20));
  }
}

#endif
