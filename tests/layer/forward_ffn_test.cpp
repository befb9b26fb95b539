// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Forward of layers of Ffn experts against the naive double-precision oracle.
#include "layer/forward_cases.hpp"
#include "moe/moe.hpp"

namespace moe_test {
namespace {

template <class S, class Act>
void check_cases(std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t n = first; n < first + count; ++n) {
    check_forward_case<S, moe::Ffn<S, Act>>(random_case(n));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a layer of Ffn experts computes what the textbook says", "[layer]", float,
                   double) {
  SECTION("Identity") { check_cases<TestType, moe::Identity>(0 + 0, 16); }
  SECTION("Relu") { check_cases<TestType, moe::Relu>(0 + 100, 16); }
  SECTION("Gelu") { check_cases<TestType, moe::Gelu>(0 + 200, 16); }
  SECTION("GeluTanh") { check_cases<TestType, moe::GeluTanh>(0 + 300, 16); }
  SECTION("Silu") { check_cases<TestType, moe::Silu>(0 + 400, 16); }
}

}  // namespace moe_test
