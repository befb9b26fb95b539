// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every bit pattern of the small formats against the formula of their definitions, in double.
#include "moe/io/dtype.hpp"

#include "io/temporary_folder.hpp"
#include "moe/io/safetensors.hpp"
#include "support/catch.hpp"

using moe::Dtype;

namespace {

/// (-1)^s 2^(max(e, 1) - bias) ((e > 0) + m / 2^mantissa): every format's finite numbers.
double finite(unsigned bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int e = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double m = static_cast<double>(bits & ((1u << mantissa_bits) - 1)) / (1 << mantissa_bits);
  const double value = std::pow(2.0, std::max(e, 1) - bias) * ((e > 0 ? 1 : 0) + m);
  return (bits >> (exponent_bits + mantissa_bits) & 1) != 0 ? -value : value;
}

bool same(double a, double b) { return a == b && std::signbit(a) == std::signbit(b); }

/// All patterns; in a format with infinities the highest exponent is checked apart.
template <class Bits, class Widen>
void check_format(int exponent_bits, int mantissa_bits, Widen widen) {
  const unsigned top = (1u << exponent_bits) - 1;
  unsigned wrong = 0;
  for (unsigned bits = 0; bits < (1u << (8 * sizeof(Bits))); ++bits) {
    const double value = static_cast<double>(widen(static_cast<Bits>(bits)));
    const unsigned mantissa = bits & ((1u << mantissa_bits) - 1);
    if ((bits >> mantissa_bits & top) != top) {
      wrong += same(value, finite(bits, exponent_bits, mantissa_bits)) ? 0 : 1;
    } else if (mantissa != 0) {
      wrong += std::isnan(value) ? 0 : 1;
    } else {
      const bool negative = (bits >> (exponent_bits + mantissa_bits)) != 0;
      wrong += std::isinf(value) && std::signbit(value) == negative ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
}

/// One tensor [1, n] of these values.
template <class Stored>
moe::SafeTensors file_of(const moe_test::TemporaryFolder& folder, const std::string& dtype,
                         const std::vector<Stored>& values) {
  const std::size_t bytes = values.size() * sizeof(Stored);
  std::string data(bytes, '\0');
  std::memcpy(data.data(), values.data(), bytes);
  return moe::SafeTensors(folder.write(
      dtype + ".safetensors",
      moe_test::safetensors_bytes("{\"x\":{\"dtype\":\"" + dtype + "\",\"shape\":[1," +
                                      std::to_string(values.size()) + "],\"data_offsets\":[0," +
                                      std::to_string(bytes) + "]}}",
                                  data)));
}

template <class T, class Stored>
std::vector<T> converted(const std::string& dtype, const std::vector<Stored>& values) {
  const moe_test::TemporaryFolder folder;
  std::vector<T> out(values.size());
  file_of(folder, dtype, values)
      .read("x", moe::MatrixView<T>(out.data(), 1, static_cast<moe::Index>(out.size())));
  return out;
}

}  // namespace

TEST_CASE("half and small floats widen exactly") {
  check_format<std::uint16_t>(5, 10, moe::f16_to_float);
  check_format<std::uint16_t>(8, 7, moe::bf16_to_float);
  check_format<std::uint8_t>(5, 2, moe::f8_e5m2_to_float);
  unsigned wrong = 0;
  for (unsigned bits = 0; bits < 256; ++bits) {
    const auto byte = static_cast<std::uint8_t>(bits);
    const auto e4m3 = static_cast<double>(moe::f8_e4m3_to_float(byte));
    wrong += (bits & 0x7F) == 0x7F ? !std::isnan(e4m3) : !same(e4m3, finite(bits, 4, 3));
    const auto e8m0 = static_cast<double>(moe::f8_e8m0_to_float(byte));
    wrong += bits == 255 ? !std::isnan(e8m0) : e8m0 != std::pow(2.0, static_cast<int>(bits) - 127);
  }
  CHECK(wrong == 0);
  CHECK(moe::f8_e4m3_to_float(0x7E) == 448);
}

TEST_CASE("tensors convert to the caller's type") {
  using D = std::vector<double>;
  CHECK(converted<double, float>("F32", {0.1f, -2.0f}) == D{static_cast<double>(0.1f), -2.0});
  CHECK(converted<float, double>("F64", {0.1, 1e300}) ==
        std::vector<float>{0.1f, std::numeric_limits<float>::infinity()});
  CHECK(converted<double, std::uint16_t>("F16", {0x3C00, 0xC100}) == D{1, -2.5});
  CHECK(converted<double, std::uint16_t>("BF16", {0x3F80, 0xC020}) == D{1, -2.5});
  CHECK(converted<double, std::uint8_t>("F8_E4M3", {0x38, 0xC2}) == D{1, -2.5});
  CHECK(converted<double, std::uint8_t>("F8_E5M2", {0x3C, 0xC1}) == D{1, -2.5});
  CHECK(converted<double, std::uint8_t>("F8_E8M0", {127, 130}) == D{1, 8});
  CHECK(converted<double, std::int64_t>("I64", {-1, 1LL << 50}) == D{-1, 0x1p50});
  CHECK(converted<double, std::int32_t>("I32", {-1, 7}) == D{-1, 7});
  CHECK(converted<double, std::int16_t>("I16", {-1, 7}) == D{-1, 7});
  CHECK(converted<double, std::int8_t>("I8", {-128, 127}) == D{-128, 127});
  CHECK(converted<double, std::uint64_t>("U64", {1ULL << 63}) == D{0x1p63});
  CHECK(converted<double, std::uint32_t>("U32", {4294967295u}) == D{4294967295.0});
  CHECK(converted<double, std::uint16_t>("U16", {65535}) == D{65535});
  CHECK(converted<double, std::uint8_t>("U8", {255}) == D{255});
  CHECK(converted<std::int64_t, std::int32_t>("I32", {-5}) == std::vector<std::int64_t>{-5});
  CHECK(converted<std::uint8_t, std::int64_t>("I64", {0, 255}) ==
        std::vector<std::uint8_t>{0, 255});
}

TEST_CASE("what does not convert says so") {
  using C = std::int32_t;
  const std::vector<std::uint8_t> bytes = {1, 0};
  CHECK_THROWS_WITH((converted<float, std::uint8_t>("BOOL", bytes)),
                    ContainsSubstring("tensor 'x' is BOOL, which does not convert to F32"));
  CHECK_THROWS_WITH((converted<C, float>("F32", {1.0f})),
                    ContainsSubstring("tensor 'x' is F32, which does not convert to I32"));
  CHECK_THROWS_WITH((converted<C, std::int64_t>("I64", {0, 1LL << 31})),
                    ContainsSubstring("tensor 'x' has an integer in row 0 that I32 cannot hold"));
  CHECK_THROWS_WITH((converted<std::uint64_t, std::int8_t>("I8", {-1})),
                    ContainsSubstring("that U64 cannot hold"));
}

TEST_CASE("a tensor off its alignment is read, not viewed") {
  const moe_test::TemporaryFolder folder;
  for (const std::string padding : {"", " ", "  ", "   ", "    "}) {
    const float values[] = {1.5f, -2.0f};
    std::string data(8, '\0');
    std::memcpy(data.data(), values, 8);
    const std::string header =
        R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + padding;
    const moe::SafeTensors file(
        folder.write("x.safetensors", moe_test::safetensors_bytes(header, data)));
    moe::Matrix<float> x(1, 2);
    file.read<float>("x", x);
    CHECK(x(0, 1) == -2.0f);
    const bool aligned = header.size() % 4 == 0;
    CHECK(moe::SafeTensors::viewable<float>(file.at("x")) == aligned);
    if (aligned) {
      CHECK(file.view<float>("x")(0, 0) == 1.5f);
    } else {
      CHECK_THROWS_WITH(file.view<float>("x"), ContainsSubstring("'x' is not aligned for a view"));
    }
  }
}

TEST_CASE("dtypes have the names and sizes of the format") {
  CHECK(moe::dtype_name(Dtype::f8_e4m3) == "F8_E4M3");
  CHECK(moe::dtype_named("BF16") == Dtype::bf16);
  CHECK_FALSE(moe::dtype_named("bf16"));
  CHECK(moe::dtype_size(Dtype::boolean) == 1);
  CHECK(moe::dtype_of<double>() == Dtype::f64);
  CHECK(moe::dtype_of<std::uint8_t>() == Dtype::u8);
  CHECK(moe::dtype_of<std::int64_t>() == Dtype::i64);
  CHECK(moe::dtype_of<std::uint32_t>() == Dtype::u32);
}
