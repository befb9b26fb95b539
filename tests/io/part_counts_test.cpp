// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Numbers of parts without weights, which a short text can make large, are held against the file.
#include "io/round_trip.hpp"
#include "moe/block/ffn_layer.hpp"
#include "moe/block/stack.hpp"
#include "moe/expert/any_of.hpp"
#include "moe/expert/identity.hpp"
#include "moe/layer/hierarchical_layer.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/router/uniform.hpp"

using namespace moe_test;
using moe::Index;

namespace {

using Expert = moe::AnyOf<float, moe::IdentityExpert<float>>;
using Router = moe::UniformRouter<float>;
using Group = moe::MoeLayer<float, Router, moe::TopKGate, Expert>;

Group::Config group() {
  moe::ExpertMix<Expert> mix;
  mix.add<moe::IdentityExpert<float>>(3);
  return {.model_dim = 3, .hidden_dim = 1, .num_experts = 3, .top_k = 1, .expert = mix};
}

/// The file with one more tensor, of `n` bytes, that belongs to no part.
std::filesystem::path with_spare_tensor(const std::filesystem::path& from,
                                        const std::filesystem::path& to, std::size_t n) {
  const std::string bytes = file_bytes(from);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  moe::Json header = moe::Json::parse(bytes.substr(sizeof(length), length));
  const std::string data = bytes.substr(sizeof(length) + length);
  header["spare"] = {
      {"dtype", "U8"}, {"shape", {n}}, {"data_offsets", {data.size(), data.size() + n}}};
  std::ofstream(to, std::ios::binary) << safetensors_bytes(header.dump(), data + std::string(n, 0));
  return to;
}

/// What loading says when the layer's configuration is changed by edit(Json&).
template <class L, class F>
std::string message(const std::filesystem::path& path, F&& edit) {
  const auto bad = with_description(path, path.parent_path() / "bad", [&](moe::Json& about) {
    edit(about["parts"]["layer"]["config"]);
  });
  return message_of<moe::FileError>([&] { moe::load_layer<L>(bad); });
}

}  // namespace

TEST_CASE("parts are held against the number of tensors, not against their sizes") {
  const TemporaryFolder folder;
  Group layer(group());
  moe::save_layer(folder / "layer", layer);
  const auto path = with_spare_tensor(folder / "layer", folder / "spare", 1'000'000);
  const auto experts = [&](Index n) {
    return message<Group>(path, [&](moe::Json& config) { config["num_experts"] = n; });
  };
  CHECK(experts(65'536).empty());
  CHECK_THAT(experts(65'537), ContainsSubstring("layer.num_experts is 65537, too many parts for a "
                                                "file of 3 tensors"));
}

TEST_CASE("parts are counted over all that they are nested in") {
  using L = moe::HierarchicalLayer<float, Group, Router>;
  const TemporaryFolder folder;
  const auto path = folder / "layer";
  L layer({.model_dim = 3, .num_groups = 2, .top_k = 1, .group = group()});
  moe::save_layer(path, layer);
  CHECK_THAT(message<L>(path, [](moe::Json& c) { c["groups"][0]["num_experts"] = 40'000; }),
             ContainsSubstring("layer.groups.0.num_experts is 40000, too many parts"));
  CHECK_THAT(message<L>(path, [](moe::Json& c) { c["num_groups"] = 60'000; }),
             ContainsSubstring("layer.groups.0.num_experts is 3, too many parts"));
}

TEST_CASE("blocks are counted too") {
  using Dense = moe::FfnLayer<float>;
  using L = moe::BlockStack<float, Dense, Group>;
  const TemporaryFolder folder;
  const auto path = folder / "layer";
  L layer({.interleave = {.blocks = 2, .every = 1}, .sparse = group()});
  moe::save_layer(path, layer);
  const auto spare = with_spare_tensor(path, folder / "spare", 1'000'000);
  CHECK_THAT(message<L>(spare, [](moe::Json& c) { c["blocks"] = 900'000; }),
             ContainsSubstring("layer.blocks is 900000, too many parts"));
}
