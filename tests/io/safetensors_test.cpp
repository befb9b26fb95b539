// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/io/safetensors.hpp"

#include "io/temporary_folder.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "support/catch.hpp"

using moe_test::file_bytes;
using moe_test::message_of;
using moe_test::safetensors_bytes;
using moe_test::TemporaryFolder;

namespace {

/// The format's documentation by hand: two tensors and a text.
std::string small_file() {
  const float a[] = {1, 2, 3, 4, 5, 6};
  const std::int64_t b[] = {-7, 1LL << 40};
  std::string data(sizeof(a) + sizeof(b), '\0');
  std::memcpy(data.data(), a, sizeof(a));
  std::memcpy(data.data() + sizeof(a), b, sizeof(b));
  return safetensors_bytes(R"({"__metadata__":{"format":"pt"},)"
                           R"("b":{"dtype":"I64","shape":[2],"data_offsets":[24,40]},)"
                           R"("a":{"shape":[2,3],"dtype":"F32","data_offsets":[0,24]}}  )",
                           data);
}

}  // namespace

TEST_CASE("a safetensors file is listed, viewed and read") {
  const TemporaryFolder folder;
  const moe::SafeTensors file(folder.write("x.safetensors", small_file()));
  REQUIRE(file.tensors().size() == 2);
  CHECK(file.tensors()[0].name == "a");  // by place, whatever the order of the header
  CHECK(file.tensors()[1].name == "b");
  CHECK(file.at("a").shape == std::vector<moe::Index>{2, 3});
  CHECK(file.at("a").dtype == moe::Dtype::f32);
  CHECK(file.at("a").bytes.size() == 24);
  CHECK(*file.at("a").file == folder / "x.safetensors");
  CHECK(file.metadata().at("format") == "pt");
  CHECK_FALSE(file.contains("c"));
  CHECK(file.find("") == nullptr);

  moe::Matrix<double> a(2, 3);
  file.read<double>("a", a);
  CHECK(a(0, 0) == 1.0);
  CHECK(a(1, 2) == 6.0);
  moe::Matrix<float> corner(1, 2);
  moe::SafeTensors::read_block<float>(file.at("a"), 1, 1, corner);
  CHECK(corner(0, 0) == 5.0f);
  CHECK(corner(0, 1) == 6.0f);
  moe::Matrix<std::int64_t> b(1, 2);
  file.read<std::int64_t>("b", b);
  CHECK(b(0, 1) == 1LL << 40);
}

TEST_CASE("what was asked of a tensor is checked, and the message names file and tensor") {
  const TemporaryFolder folder;
  const moe::SafeTensors file(folder.write("x.safetensors", small_file()));
  const auto check = [&](auto&& call, const std::string& what) {
    const std::string message = message_of<moe::FileError>(call);
    CHECK_THAT(message, ContainsSubstring((folder / "x.safetensors").string()));
    CHECK_THAT(message, ContainsSubstring(what));
  };
  moe::Matrix<float> wrong(3, 2);
  moe::Matrix<std::int32_t> narrow(1, 2), from_float(2, 3);
  check([&] { file.at("c"); }, "has no tensor 'c'");
  check([&] { file.at("a", {3, 2}); }, "tensor 'a' is [2, 3], expected [3, 2]");
  check([&] { file.read<float>("a", wrong); }, "tensor 'a' is [2, 3], expected [3, 2]");
  check([&] { file.read<std::int32_t>("b", narrow); }, "tensor 'b' has an integer in row 0");
  check([&] { file.read<std::int32_t>("a", from_float); }, "F32, which does not convert to I32");
  check([&] { file.view<double>("a"); }, "tensor 'a' is F32, a view needs F64");
  const auto block = [&](moe::Index row, moe::Index col) {
    return [&, row, col] { moe::SafeTensors::read_block<float>(file.at("a"), row, col, wrong); };
  };
  check(block(0, 0), "asked for [3, 2] from [0, 0] on");
  check(block(-1, 0), "asked for [3, 2] from [-1, 0] on");
  check(block(0, std::numeric_limits<moe::Index>::max()), "asked for [3, 2]");
}

TEST_CASE("what the writer writes, the reader reads, and views are aligned") {
  const TemporaryFolder folder;
  const auto path = folder / "w.safetensors";
  moe::Matrix<double> wide(3, 5);
  for (moe::Index i = 0; i < wide.size(); ++i) wide.data()[i] = 0.1 * static_cast<double>(i);
  const std::vector<std::uint8_t> odd = {1, 2, 3};
  const auto write = [&] {
    moe::SafeTensorsWriter writer(path,
                                  {{"odd", moe::Dtype::u8, {3}},
                                   {"part", moe::Dtype::f64, {3, 2}},
                                   {"empty \"\xC3\xBC\"", moe::Dtype::f32, {0, 4}},
                                   {"all", moe::Dtype::f64, {3, 5}},
                                   {"one", moe::Dtype::i16, {}}},
                                  {{"quote", "a \"b\"\n"}});
    writer.write("all", wide);
    writer.write("part", moe::MatrixView<const double>(wide.middleCols(1, 2)));  // strided
    writer.write("odd", std::as_bytes(std::span(odd).first(1)));                 // in pieces
    writer.write("odd", std::as_bytes(std::span(odd).subspan(1)));
    const std::int16_t one = -3;
    writer.write("one", std::as_bytes(std::span(&one, 1)));
    writer.finish();
  };
  write();
  const std::string first = file_bytes(path);
  {
    const moe::SafeTensors file(path);
    CHECK(file.tensors().size() == 5);
    CHECK(file.metadata().at("quote") == "a \"b\"\n");
    REQUIRE(moe::SafeTensors::viewable<double>(file.at("part")));
    CHECK(file.view<double>("all").eigen() == wide);
    CHECK(file.view<double>("part").eigen() == wide.middleCols(1, 2));
    CHECK(file.view<std::int16_t>("one")(0, 0) == -3);
    CHECK(file.view<std::uint8_t>("odd")(0, 2) == 3);
    CHECK(file.view<float>("empty \"\xC3\xBC\"").size() == 0);
    file.release(file.at("all"));
    CHECK(file.view<double>("all").eigen() == wide);  // read again
    write();                                          // replaces the file under the open map
    CHECK(file.view<double>("all").eigen() == wide);
  }
  CHECK(file_bytes(path) == first);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}
