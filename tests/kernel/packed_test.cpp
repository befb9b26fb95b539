// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/kernel/packed.hpp"

#include "moe/kernel/ffn.hpp"
#include "moe/kernel/linear.hpp"

#include <cstring>

#include "kernel/ffn_problem.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace moe_test;

namespace {

template <class S>
std::vector<S> run_packed(FfnProblem<S>& p, const moe::PackedFfn<S>& packed,
                          moe::ExecutorRef executor = {}) {
  std::vector<S> y(p.x.size(), static_cast<S>(std::nan("")));
  moe::FfnScratch<S> scratch;
  moe::ffn_forward<S>(packed, p.rows(), MatrixView<const S>(p.x.data(), p.z.t, p.z.d),
                      MatrixView<S>(y.data(), p.z.t, p.z.d), scratch, executor);
  return y;
}

template <class S>
std::vector<S> run_packed(FfnProblem<S>& p, moe::WeightType type, moe::ExecutorRef executor = {}) {
  const auto pointers = p.w.template pointers<const S>(p.z);
  return run_packed(p, moe::PackedFfn<S>(p.shape(), pointers, type, executor), executor);
}

std::vector<Sizes> shapes() {
  std::vector<Sizes> all;
  for (bool gated : {false, true}) {
    for (Index t : {0, 1, 2, 3, 9, 40}) {
      all.push_back({t, 20, 37, 4, 2, Activation::silu, gated, true});
      all.push_back({t, 33, 70, 3, 2, Activation::gelu, gated, false});
    }
    all.push_back({500, 40, 300, 3, 1, Activation::silu, gated, true});
    all.push_back({5, 601, 90, 3, 2, Activation::silu, gated, true});
  }
  return all;
}

template <class S>
bool same(const std::vector<S>& a, const std::vector<S>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("packed weights give the bits of the unpacked ones", "[kernel]", float, double) {
  for (const Sizes& z : shapes()) {
    auto p = FfnProblem<TestType>::random(z, 5);
    for (moe::Isa isa : moe::available_isas()) {
      const UseIsa use(isa);
      Threads threads(2);
      CAPTURE(moe::isa_name(isa), z.t, z.d, z.h, z.gated);
      CHECK(same(run_packed(p, moe::WeightType::native, threads), run_forward(p)));
    }
  }
}

TEST_CASE("experts packed one by one, in any order, give the bits of those packed together",
          "[kernel]") {
  for (const Sizes& z : shapes()) {
    for (auto type : {moe::WeightType::native, moe::WeightType::bfloat16}) {
      auto p = FfnProblem<float>::random(z, 9);
      const auto pointers = p.w.pointers<const float>(p.z);
      Threads threads(2);
      moe::PackedFfn<float> packed(p.shape(), z.e, type);
      for (Index e = z.e - 1; e >= 0; --e) {
        packed.pack_expert(e, pointers[static_cast<std::size_t>(e)], threads);
      }
      CAPTURE(z.t, z.d, z.h, z.gated);
      CHECK(same(run_packed(p, packed), run_packed(p, type)));
      CHECK_THROWS_AS(packed.pack_expert(z.e, pointers[0]), std::invalid_argument);
      CHECK_THROWS_AS(packed.pack_expert(-1, pointers[0]), std::invalid_argument);
    }
  }
}

TEST_CASE("one row reads weights too large for the caches with the same bits", "[kernel]") {
  constexpr Index kOutputs = 300, kInputs = 1100;
  const auto x = random_values<float>(2 * kInputs, 1);
  const auto w = random_values<float>(kOutputs * kInputs, 2);
  const moe::PackedLinear<float> packed({w.data(), kOutputs, kInputs});
  moe::LinearScratch<float> scratch;
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    std::vector<float> two(2 * kOutputs), one(kOutputs);
    moe::linear_forward<float>({x.data(), 2, kInputs}, packed, nullptr, {two.data(), 2, kOutputs},
                               scratch, {});
    moe::linear_forward<float>({x.data(), 1, kInputs}, packed, nullptr, {one.data(), 1, kOutputs},
                               scratch, {});
    two.resize(one.size());
    CHECK(same(one, two));
  }
}

TEST_CASE("packed linear maps give the bits of the unpacked ones", "[kernel]") {
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Index n : {1, 31, 70}) {
      for (Index m : {1, 3, 30}) {
        const auto x = random_values<float>(m * 50, 1), w = random_values<float>(n * 50, 2);
        const MatrixView<const float> wv(w.data(), n, 50), xv(x.data(), m, 50);
        const moe::PackedLinear<float> packed(wv);
        std::vector<float> a(static_cast<std::size_t>(m * n)), b(a.size());
        moe::LinearScratch<float> scratch;
        moe::linear_forward<float>(xv, wv, nullptr, {a.data(), m, n}, scratch, {});
        moe::linear_forward<float>(xv, packed, nullptr, {b.data(), m, n}, scratch, {});
        CHECK(same(a, b));
      }
    }
  }
}

TEST_CASE("bfloat16 weights stay within their rounding, on any instruction set and batch",
          "[kernel]") {
  for (const Sizes& z : shapes()) {
    auto p = FfnProblem<float>::random(z, 5);
    auto exact_problem = p.to<double>();
    const auto exact = solve_naively(exact_problem, std::vector<double>(p.x.size()));
    for (moe::Isa isa : moe::available_isas()) {
      const UseIsa use(isa);
      Threads threads(3);
      CAPTURE(moe::isa_name(isa), z.t, z.d, z.h, z.gated);
      const auto y = run_packed(p, moe::WeightType::bfloat16);
      CHECK(distance(y, exact.y) < 0.02);
      CHECK(same(y, run_packed(p, moe::WeightType::bfloat16, threads)));
    }
  }
}

TEST_CASE("rounding to bfloat16 goes to the nearest even and keeps what is not a number",
          "[kernel]") {
  CHECK(moe::detail::to_bf16(1.0f) == 0x3f80);
  CHECK(moe::detail::to_bf16(std::bit_cast<float>(0x3f808000u)) == 0x3f80);
  CHECK(moe::detail::to_bf16(std::bit_cast<float>(0x3f818000u)) == 0x3f82);
  CHECK(moe::detail::to_bf16(std::bit_cast<float>(0x3f808001u)) == 0x3f81);
  CHECK(moe::detail::to_bf16(INFINITY) == 0x7f80);
  CHECK((moe::detail::to_bf16(std::bit_cast<float>(0x7f800001u)) & 0x7fffu) > 0x7f80);
}
