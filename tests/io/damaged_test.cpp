// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Damaged and hostile safetensors files: one FileError that names the file and, where it can, the
// tensor. The sanitizer build sees that nothing outside is read.
#include "io/temporary_folder.hpp"
#include "moe/io/safetensors.hpp"
#include "support/catch.hpp"

using moe_test::message_of;
using moe_test::safetensors_bytes;
using moe_test::TemporaryFolder;

namespace {

struct Case {
  std::string header;
  std::string message;
  std::size_t data = 8;
};

/// One tensor "x" with these three values.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"x":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

std::string two(const std::string& first, const std::string& second) {
  const std::string u8 = R"({"dtype":"U8","shape":[4],"data_offsets":)";
  return R"({"x":)" + u8 + first + R"(},"y":)" + u8 + second + "}}";
}

void check_refused(const std::string& bytes, const std::string& expected) {
  const TemporaryFolder folder;
  const auto path = folder.write("damaged.safetensors", bytes);
  const std::string message = message_of<moe::FileError>([&] { moe::SafeTensors file(path); });
  INFO(bytes.substr(std::min<std::size_t>(bytes.size(), 8), 120));
  CHECK_THAT(message, ContainsSubstring(path.string() + ": "));
  CHECK_THAT(message, ContainsSubstring(expected));
}

void check_all(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    check_refused(safetensors_bytes(c.header, std::string(c.data, '\0')), c.message);
  }
}

}  // namespace

TEST_CASE("the header's length is checked against the file") {
  check_refused("", "has 0 bytes, too few");
  check_refused("1234567", "has 7 bytes, too few");
  check_refused(std::string(8, '\0'), "does not start with '{'");
  check_refused(std::string("\x03\0\0\0\0\0\0\0{}", 10), "header has 3 bytes, 2 follow");
  check_refused(std::string(8, '\xFF') + "{}", "header has 18446744073709551615 bytes, 2 follow");
  check_refused(std::string("\0\0\0\0\0\0\0\x80{}", 10), "header has 9223372036854775808 bytes");
  // Cut anywhere, a file is refused.
  const std::string whole = safetensors_bytes(one(R"("F32")", "[2]", "[0,8]"), "abcdefgh");
  for (std::size_t n = 0; n < whole.size(); ++n) check_refused(whole.substr(0, n), "");
}

TEST_CASE("the header must be JSON of the one form the format allows") {
  check_all({
      {"{", "bad JSON in the header"},
      {"{}}", "bad JSON in the header"},
      {"{} x", "bad JSON in the header"},
      {std::string("{}\0", 3), "NUL"},
      {" {}", "does not start with '{'"},
      {"[]", "does not start with '{'"},
      {"{\"\xFF\":{}}", "bad JSON in the header"},
      {R"({"x":1})", "tensor 'x': is 1, expected an object"},
      {R"({"x":[]})", "tensor 'x': is an array, expected an object"},
      {R"({"x":null})", "tensor 'x': is null, expected an object"},
      {R"({"x":{}})", "tensor 'x': has no 'dtype'"},
      {R"({"x":{"dtype":"U8","shape":[8]}})", "tensor 'x': has no 'data_offsets'"},
      {R"({"x":{"dtype":"U8","dtype":"U8"}})", "tensor 'x': key 'dtype' is there twice"},
      {R"({"x":{"dtype":"U8","strides":[1]}})", "tensor 'x': unknown key 'strides'"},
      {R"({"x":{"dtype":{"a":1}}})", "'dtype' is or holds an object"},
      {R"({"x":{"shape":[[1]]}})", "'shape' is or holds an array"},
      {R"({"x":{"shape":8}})", "'shape' is or holds 8"},
      {R"({"x":{"shape":["8"]}})", "'shape' is or holds the text '8'"},
      {R"({"__metadata__":[]})", "metadata: is an array"},
      {R"({"__metadata__":{"a":1}})", "metadata: 'a' is or holds 1"},
      {R"({"__metadata__":{"a":{"b":"c"}}})", "metadata: 'a' is or holds an object"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", "metadata: key 'a' is there twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", "metadata: is there twice"},
      {std::string(100000, '[').insert(0, R"({"x":)"), "tensor 'x': is an array"},
      {R"({"x":{"shape":)" + std::string(100000, '['), "'shape' is or holds an array"},
  });
}

TEST_CASE("dtype, shape and offsets must agree") {
  check_all({
      {one(R"("F33")", "[2]", "[0,8]"), "tensor 'x': unknown dtype 'F33'"},
      {one(R"("f32")", "[2]", "[0,8]"), "tensor 'x': unknown dtype 'f32'"},
      {one("7", "[2]", "[0,8]"), "tensor 'x': 'dtype' is or holds 7"},
      {one(R"("F32")", "[3]", "[0,8]"), "tensor 'x': F32 of its shape are 12 bytes"},
      {one(R"("F32")", "[-2]", "[0,8]"), "tensor 'x': 'shape' is or holds -2"},
      {one(R"("F32")", "[-0]", "[0,8]"), "tensor 'x': 'shape' is or holds"},
      {one(R"("F32")", "[2.0]", "[0,8]"), "tensor 'x': 'shape' is or holds 2.0"},
      {one(R"("F32")", "[2e0]", "[0,8]"), "tensor 'x': 'shape' is or holds 2e0"},
      {one(R"("F32")", "[1e999]", "[0,8]"), "bad JSON"},
      {one(R"("F32")", "[18446744073709551615]", "[0,8]"), "too large"},
      {one(R"("F32")", "[99999999999999999999]", "[0,8]"), "tensor 'x': 'shape' is or holds"},
      {one(R"("F32")", "[4294967296,4294967296]", "[0,8]"), "tensor 'x': the shape's product"},
      {one(R"("F32")", "[2305843009213693952]", "[0,8]"), "tensor 'x': the shape's product"},
      {one(R"("U8")", "[4611686018427387904,3,0]", "[0,0]"), "tensor 'x': the shape's product"},
      {one(R"("F32")", "[]", "[0,8]"), "tensor 'x': F32 of its shape are 4 bytes"},
      {one(R"("F32")", "[0]", "[0,8]"), "tensor 'x': F32 of its shape are 0 bytes"},
      {one(R"("F32")", "[2]", "[8,0]"), "the end before the begin"},
      {one(R"("F32")", "[2]", "[0]"), "tensor 'x': data_offsets has 1 numbers, expected 2"},
      {one(R"("F32")", "[2]", "[0,8,16]"), "tensor 'x': data_offsets has 3 numbers"},
      {one(R"("F32")", "[2]", "[-8,0]"), "tensor 'x': 'data_offsets' is or holds -8"},
      {one(R"("F32")", "[2]", "[0,8.5]"), "tensor 'x': 'data_offsets' is or holds 8.5"},
      {one(R"("F32")", "[2]", "[8,16]"), "tensor 'x': ends at byte 16 of the data"},
      {one(R"("F32")", "[1]", "[9223372036854775803,9223372036854775807]"), "tensor 'x': ends at"},
  });
}

TEST_CASE("tensors must follow one another without hole or overlap") {
  check_all({
      {two("[0,4]", "[2,6]"), "tensor 'y': starts at byte 2", 6},
      {two("[0,4]", "[0,4]"), "starts at byte 0 of the data, the tensor before ends at 4", 4},
      {two("[0,4]", "[5,9]"),
       "tensor 'y': starts at byte 5 of the data, the tensor before ends at 4", 9},
      {two("[4,8]", "[8,12]"), "tensor 'x': starts at byte 4", 12},
      {two("[0,4]", "[4,8]"), "the tensors end at byte 8 of the data, of which the file has 9", 9},
      {two("[0,4]", "[4,8]"), "tensor 'y': ends at byte 8 of the data, of which the file has 7", 7},
      {"{}", "the tensors end at byte 0", 1},
      {R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
       R"("x":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
       "tensor 'x': is there twice"},
  });
}

TEST_CASE("no tensors and empty tensors are no damage") {
  const TemporaryFolder folder;
  const moe::SafeTensors none(folder.write("none.safetensors", safetensors_bytes("{}")));
  CHECK(none.tensors().empty());
  const moe::SafeTensors empty(folder.write(
      "empty.safetensors", safetensors_bytes(one(R"("F32")", "[0,4611686018427387904]", "[0,0]"))));
  CHECK(empty.at("x").rows() == 0);
  moe::Matrix<float> nothing(0, 4);
  CHECK_THROWS_AS(empty.read<float>("x", nothing), moe::FileError);
}

TEST_CASE("a strange name is shown harmlessly") {
  const std::string header = R"({"\u001b[2Jü)" + std::string(300, 'n') + R"(":{"dtype":"U9"}})";
  check_refused(safetensors_bytes(header), R"(tensor '\x1b[2J\xc3\xbcnnn)");
}

TEST_CASE("what is not a readable file says so") {
  const TemporaryFolder folder;
  const auto check = [&](const std::filesystem::path& path, const std::string& what) {
    const std::string message = message_of<moe::FileError>([&] { moe::SafeTensors file(path); });
    CHECK_THAT(message, ContainsSubstring(path.string()));
    CHECK_THAT(message, ContainsSubstring(what));
  };
  check(folder / "missing.safetensors", "cannot open the file: No such file");
  check("/dev/zero", "is not a regular file");
  check(folder.path(), "holds 0 files *.safetensors");
  std::filesystem::create_directory(folder / "d.safetensors");
  std::filesystem::create_directory(folder / "model.safetensors");
  check(folder.path(), "is a directory, expected a file");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  check(folder / "pipe", "is not a regular file");  // and does not wait for a writer

  if (::geteuid() != 0) {  // root may read everything
    const auto secret = folder.write("secret.safetensors", safetensors_bytes("{}"));
    std::filesystem::permissions(secret, std::filesystem::perms::none);
    check(secret, "cannot open the file: Permission denied");
  }
}
