// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of several files: the index says where each tensor is, and may lie.
#include "io/temporary_folder.hpp"
#include "moe/io/safetensors.hpp"
#include "support/catch.hpp"

using moe_test::message_of;
using moe_test::safetensors_bytes;
using moe_test::TemporaryFolder;

namespace {

constexpr auto* kIndex = "model.safetensors.index.json";

std::string bytes_of(const std::vector<std::string>& names) {
  std::string header = "{", data;
  for (std::size_t i = 0; i < names.size(); ++i) {
    header += (i > 0 ? ",\"" : "\"") + names[i] +
              R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::to_string(i) + "," +
              std::to_string(i + 1) + "]}";
    data += names[i].back();
  }
  return safetensors_bytes(header + "}", data);
}

std::string index(const std::string& map) {
  return R"({"metadata":{"total_size":3},"weight_map":{)" + map + "}}";
}

int value(const moe::SafeTensors& file, const std::string& name) {
  return file.view<std::uint8_t>(name)(0, 0);
}

}  // namespace

TEST_CASE("a sharded checkpoint opens by its folder or its index") {
  const TemporaryFolder folder;
  folder.write("m-1.safetensors", bytes_of({"a", "b", "unlisted"}));
  folder.write("m-2.safetensors", bytes_of({"c"}));
  const auto path = folder.write(
      kIndex, index(R"("a":"m-1.safetensors","c":"m-2.safetensors","b":"m-1.safetensors")"));
  for (const auto& way : {folder.path(), path}) {
    moe::SafeTensors opened(way);
    const moe::SafeTensors file = std::move(opened);  // tensors stay where they are
    CHECK(file.tensors().size() == 3);
    CHECK(file.files().size() == 2);
    CHECK(value(file, "a") == 'a');
    CHECK(value(file, "c") == 'c');
    CHECK(file.at("c").file->filename() == "m-2.safetensors");
    CHECK_FALSE(file.contains("unlisted"));
    CHECK_THAT(message_of<moe::FileError>([&] { file.at("d"); }),
               ContainsSubstring(path.string() + ": has no tensor 'd'"));
  }
}

TEST_CASE("a folder without an index has model.safetensors or one file") {
  const TemporaryFolder folder;
  folder.write("weights.safetensors", bytes_of({"w"}));
  CHECK(value(moe::SafeTensors(folder.path()), "w") == 'w');
  folder.write("other.safetensors", bytes_of({"o"}));
  CHECK_THAT(message_of<moe::FileError>([&] { moe::SafeTensors file(folder.path()); }),
             ContainsSubstring("holds 2 files *.safetensors and no model.safetensors.index.json"));
  folder.write("model.safetensors", bytes_of({"m"}));
  CHECK(value(moe::SafeTensors(folder.path()), "m") == 'm');
}

TEST_CASE("shards may be links, as in download caches") {
  const TemporaryFolder folder, cache;
  cache.write("blob", bytes_of({"a"}));
  std::filesystem::create_symlink(cache / "blob", folder / "m.safetensors");
  folder.write(kIndex, index(R"("a":"m.safetensors")"));
  CHECK(value(moe::SafeTensors(folder.path()), "a") == 'a');
}

TEST_CASE("a wrong index names itself, the tensor and the shard") {
  const TemporaryFolder folder;
  folder.write("m.safetensors", bytes_of({"a"}));
  std::filesystem::create_directory(folder / "sub");
  const auto check = [&](const std::string& text, const std::string& what) {
    const auto path = folder.write(kIndex, text);
    INFO(text.substr(0, 120));
    CHECK_THAT(message_of<moe::FileError>([&] { moe::SafeTensors file(folder.path()); }),
               ContainsSubstring(what));
  };
  const std::string outside = "expected a file inside the index's folder";
  check(index(R"("a":"../m.safetensors")"),
        "tensor 'a': its file is '../m.safetensors', " + outside);
  check(index(R"("a":"sub/../../m.safetensors")"), outside);
  check(index(R"("a":"/etc/passwd")"), outside);
  check(index(R"("a":"..")"), outside);
  check(index(R"("a":"")"), outside);
  check(index(R"("a":"sub/")"), outside);
  check(index(R"("a":"m.safetensors\u0000x")"), outside);
  check(index(R"("a":"sub")"), "is a directory");
  check(index(R"("a":"gone.safetensors")"), "gone.safetensors: cannot open the file");
  check(index(R"("a":7)"), "tensor 'a': its file is not a text");
  check(index(R"("a":"m.safetensors","b":"m.safetensors")"), "tensor 'b' should be in ");
  check(index(R"("a":"m.safetensors","a":"n.safetensors")"), "names 'a' twice in one object");
  check(index(""), "'weight_map' names no tensor");
  check("{}", "has no object 'weight_map'");
  check("[]", "has no object 'weight_map'");
  check(R"({"weight_map":["a"]})", "has no object 'weight_map'");
  check(R"({"weight_map":{},"weight_map":{}})", "names 'weight_map' twice");
  check("{", "bad JSON");
  check("", "bad JSON");
  check(std::string("{}\0", 3), "NUL");
  check(std::string(1000000, '['), "nested deeper than 64");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  check(deep, "nested deeper than 64");
}

TEST_CASE("a damaged shard is named") {
  const TemporaryFolder folder;
  folder.write("m-1.safetensors", bytes_of({"a"}));
  const auto bad = folder.write("m-2.safetensors", bytes_of({"b"}) + "x");
  folder.write(kIndex, index(R"("a":"m-1.safetensors","b":"m-2.safetensors")"));
  CHECK_THAT(message_of<moe::FileError>([&] { moe::SafeTensors file(folder.path()); }),
             ContainsSubstring(bad.string() + ": the tensors end at byte 1"));
}
