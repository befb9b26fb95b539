// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/core/random.hpp"

#include "support/catch.hpp"

namespace moe_test {

using Block = std::array<std::uint32_t, 4>;

TEST_CASE("Philox gives the known answers of its authors", "[core]") {
  // Random123, tests/kat_vectors: philox4x32 10
  CHECK(moe::philox(0, 0, 0) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(moe::philox(~0ull, ~0ull, ~0ull) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(moe::philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a sequence is its blocks one after the other", "[core]") {
  moe::Random random(3, 4);
  for (std::uint64_t block = 0; block < 3; ++block) {
    for (const std::uint32_t expected : moe::philox(3, 4, block)) CHECK(random() == expected);
  }
}

TEST_CASE("seeds and streams give different sequences", "[core]") {
  CHECK(moe::Random(1)() != moe::Random(2)());
  CHECK(moe::Random(1, 0)() != moe::Random(1, 1)());
  CHECK(moe::Random(1, 5)() == moe::Random(1, 5)());
}

TEST_CASE("uniform and normal values have their moments", "[core]") {
  moe::Random random(9);
  double sum = 0, squares = 0, low = 1, high = 0, normal = 0, normal_squares = 0;
  constexpr int kCount = 20000;
  for (int n = 0; n < kCount; ++n) {
    const double u = random.uniform(), z = random.normal();
    sum += u, squares += u * u, normal += z, normal_squares += z * z;
    low = std::min(low, u), high = std::max(high, u);
  }
  CHECK(low >= 0);
  CHECK(high < 1);
  CHECK(sum / kCount == Approx(0.5).margin(0.01));
  CHECK(squares / kCount == Approx(1.0 / 3).margin(0.01));
  CHECK(normal / kCount == Approx(0).margin(0.03));
  CHECK(normal_squares / kCount == Approx(1).margin(0.04));
}

TEST_CASE("integers below n reach every value and no other", "[core]") {
  moe::Random random(9);
  std::array<int, 7> count{};
  for (int n = 0; n < 7000; ++n) ++count.at(random.below(7));
  for (const int c : count) CHECK(c == Approx(1000).margin(150));
}

}  // namespace moe_test
