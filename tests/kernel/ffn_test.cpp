// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/kernel/ffn.hpp"

#include <cstring>

#include "kernel/ffn_problem.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace moe_test;

namespace {

constexpr Activation kActivations[] = {Activation::identity, Activation::relu,
                                       Activation::gelu,     Activation::gelu_tanh,
                                       Activation::silu,     Activation::relu_squared};

std::vector<Sizes> small_shapes() {
  std::vector<Sizes> all;
  for (Activation a : kActivations) {
    for (bool gated : {false, true})
      all.push_back({9, 20, 37, 4, 2, a, gated, gated != (a == Activation::relu)});
  }
  const auto add = [&](Index t, Index d, Index h, Index e, Index k) {
    all.push_back({t, d, h, e, k, Activation::silu, true, true});
    all.push_back({t, d, h, e, k, Activation::gelu, false, false});
  };
  add(0, 8, 8, 3, 1), add(1, 1, 1, 1, 1), add(1, 64, 128, 4, 2), add(5, 33, 15, 3, 2);
  add(40, 31, 50, 6, 3), add(70, 16, 16, 3, 1), add(3, 130, 70, 70, 5);
  return all;
}

template <class S>
bool same_bits(const std::vector<S>& a, const std::vector<S>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0);
}
template <class S>
bool same_bits(const std::vector<std::vector<S>>& a, const std::vector<std::vector<S>>& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = same_bits(a[i], b[i]);
  return same;
}

}  // namespace

TEMPLATE_TEST_CASE("grouped FFNs agree with the textbook loop, forward and backward", "[kernel]",
                   float, double) {
  using S = TestType;
  const double eps = sizeof(S) == 4 ? 6e-8 : 2e-16;
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (const Sizes& z : small_shapes()) {
      CAPTURE(moe::isa_name(isa), z.t, z.d, z.h, z.e, static_cast<int>(z.activation), z.gated);
      auto p = FfnProblem<S>::random(z, 5);
      const auto dy = random_values<S>(z.t * z.d, 9);
      auto exact_problem = p.template to<double>();
      const auto exact = solve_naively(exact_problem, {dy.begin(), dy.end()});
      const auto got = run_both(p, dy);
      const double tolerance = eps * static_cast<double>(50 + z.d + z.h + z.t);
      CHECK(distance(got.y, exact.y) < tolerance);
      CHECK(distance(got.dx, exact.dx) < tolerance);
      CHECK(distance(got.dweight, exact.dweight) < tolerance);
      for (std::size_t e = 0; e < p.w.w_in.size(); ++e) {
        CHECK(distance(got.grad.w_in[e], exact.grad.w_in[e]) < tolerance);
        CHECK(distance(got.grad.w_out[e], exact.grad.w_out[e]) < tolerance);
        if (z.gated) CHECK(distance(got.grad.w_gate[e], exact.grad.w_gate[e]) < tolerance);
        if (!z.bias) continue;
        CHECK(distance(got.grad.b_in[e], exact.grad.b_in[e]) < tolerance);
        CHECK(distance(got.grad.b_out[e], exact.grad.b_out[e]) < tolerance);
        if (z.gated) CHECK(distance(got.grad.b_gate[e], exact.grad.b_gate[e]) < tolerance);
      }
    }
  }
}

TEST_CASE("grouped FFNs have the same bits on every instruction set and any number of threads",
          "[kernel]") {
  std::vector<Sizes> shapes = small_shapes();
  shapes.push_back({130, 96, 200, 4, 2, Activation::silu, true, true});
  shapes.push_back({500, 40, 300, 3, 1, Activation::gelu, false, true});
  // The busiest expert's rows make two blocks smaller than the one block of another's.
  shapes.push_back({390, 24, 40, 3, 2, Activation::silu, true, true});
  for (const Sizes& z : shapes) {
    auto p = FfnProblem<float>::random(z, 11);
    const auto dy = random_values<float>(z.t * z.d, 3);
    FfnResult<float> first;
    bool have = false;
    for (moe::Isa isa : moe::available_isas()) {
      const UseIsa use(isa);
      for (Index size : {1, 3}) {
        if (size == 3 && z.t * z.d * z.h < 100000) continue;  // runs on one thread anyway
        Threads threads(size);
        CAPTURE(moe::isa_name(isa), size, z.t, z.d, z.h, z.e, static_cast<int>(z.activation),
                z.gated);
        const auto got = run_both(p, dy, threads);
        if (!have) first = got, have = true;
        CHECK(same_bits(got.y, first.y));
        CHECK(same_bits(got.dx, first.dx));
        CHECK(same_bits(got.dweight, first.dweight));
        CHECK(same_bits(got.grad.w_gate, first.grad.w_gate));
        CHECK(same_bits(got.grad.w_in, first.grad.w_in));
        CHECK(same_bits(got.grad.w_out, first.grad.w_out));
        CHECK(same_bits(got.grad.b_gate, first.grad.b_gate));
        CHECK(same_bits(got.grad.b_in, first.grad.b_in));
        CHECK(same_bits(got.grad.b_out, first.grad.b_out));
      }
    }
  }
}

TEST_CASE("a token's output does not depend on the batch it is in", "[kernel]") {
  const Sizes z{61, 70, 90, 3, 3, Activation::silu, true, true};
  auto p = FfnProblem<float>::random(z, 21);
  const auto all = run_forward(p);
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Index t : {0, 7, 60}) {
      FfnProblem<float> one{p.z, {0}, {}, {}, {}, p.w};
      one.z.t = 1;
      one.x.assign(p.x.begin() + t * z.d, p.x.begin() + (t + 1) * z.d);
      for (std::size_t e = 0; e < 3; ++e) {
        for (auto s = static_cast<std::size_t>(p.offset[e]);
             s < static_cast<std::size_t>(p.offset[e + 1]); ++s) {
          if (p.token[s] == t) one.token.push_back(0), one.weight.push_back(p.weight[s]);
        }
        one.offset.push_back(static_cast<std::int32_t>(one.token.size()));
      }
      const auto y = run_forward(one);
      CHECK(std::memcmp(y.data(), all.data() + t * z.d,
                        static_cast<std::size_t>(z.d) * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("NaN and infinity stay in their token", "[kernel]") {
  const Sizes z{30, 35, 41, 3, 3, Activation::gelu, true, true};
  auto p = FfnProblem<float>::random(z, 31);
  const auto clean = run_forward(p);
  p.x[static_cast<std::size_t>(4 * z.d + 3)] = NAN;
  p.x[static_cast<std::size_t>(9 * z.d)] = INFINITY;
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    const auto y = run_forward(p);
    for (Index t = 0; t < z.t; ++t) {
      const auto row = static_cast<std::size_t>(t * z.d);
      const bool same =
          std::memcmp(&y[row], &clean[row], static_cast<std::size_t>(z.d) * sizeof(float)) == 0;
      CHECK(same == (t != 4 && t != 9));
      if (t == 4) CHECK(std::isnan(y[row]));
    }
  }
}
