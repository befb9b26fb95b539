// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Forward of layers of GatedFfn experts against the naive double-precision oracle.
#include "layer/forward_cases.hpp"
#include "moe/moe.hpp"

namespace moe_test {
namespace {

template <class S, class Act>
void check_cases(std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t n = first; n < first + count; ++n) {
    check_forward_case<S, moe::GatedFfn<S, Act>>(random_case(n));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a layer of GatedFfn experts computes what the textbook says", "[layer]", float,
                   double) {
  SECTION("Identity") { check_cases<TestType, moe::Identity>(1000 + 0, 16); }
  SECTION("Relu") { check_cases<TestType, moe::Relu>(1000 + 100, 16); }
  SECTION("Gelu") { check_cases<TestType, moe::Gelu>(1000 + 200, 16); }
  SECTION("GeluTanh") { check_cases<TestType, moe::GeluTanh>(1000 + 300, 16); }
  SECTION("Silu") { check_cases<TestType, moe::Silu>(1000 + 400, 16); }
}

}  // namespace moe_test
