// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The clamped SwiGLU kernel alone: accuracy, limits, and the same bits everywhere.
#include <cstring>

#include "kernel/ffn_problem.hpp"
#include "moe/kernel/kernels.hpp"
#include "support/catch.hpp"

using namespace moe_test;

namespace {

constexpr auto kKind = Activation::clamped_swiglu;

/// a(gate, up) through the kernel; with shifts, from memory aligned to nothing.
template <class S>
std::vector<S> forward(const moe::ClampedSwiglu& numbers, const std::vector<S>& gate,
                       const std::vector<S>& up, std::size_t shift = 0) {
  constexpr auto kHalf = static_cast<std::size_t>(moe::detail::kHalf<S>);
  const std::size_t n = gate.size();
  // Panels of kHalf gates, then their ups, as the product leaves them.
  std::vector<S> c(2 * n + 4 * kHalf + shift), out(n + shift);
  for (std::size_t i = 0; i < n; ++i) {
    c[shift + i / kHalf * 2 * kHalf + i % kHalf] = gate[i];
    c[shift + i / kHalf * 2 * kHalf + kHalf + i % kHalf] = up[i];
  }
  moe::detail::kernels<S>().activate({c.data() + shift, 0, 1, static_cast<Index>(n), true, kKind,
                                      nullptr, nullptr, nullptr, out.data() + shift, nullptr,
                                      nullptr, 0, numbers});
  return {out.begin() + static_cast<std::ptrdiff_t>(shift), out.end()};
}

/// gate and up become their gradients, for a gradient of 1 of a.
template <class S>
void backward(const moe::ClampedSwiglu& numbers, std::vector<S>& gate, std::vector<S>& up) {
  std::vector<S> c(gate.size(), S(1)), hidden(gate.size()), dot(gate.size() / 16 + 1);
  const S weight[] = {S(1)};
  moe::detail::kernels<S>().activate_backward({c.data(), 0, 1, static_cast<Index>(gate.size()),
                                               true, kKind, weight, gate.data(), up.data(),
                                               hidden.data(), 0, dot.data(), 0, numbers});
}

struct Exact {
  long double value, dgate, dup;
  Exact(const moe::ClampedSwiglu& n, long double gate, long double up) {
    const long double limit = n.limit, g = std::min(gate, limit);
    const long double u =
        std::max(-limit, std::min(up, limit)) + static_cast<long double>(n.offset);
    const long double alpha = n.alpha, s = 1 / (1 + std::exp(-alpha * g));
    value = g * s * u;
    dgate = gate > limit ? 0 : s * (1 + alpha * g * (1 - s)) * u;
    dup = up > limit || up < -limit ? 0 : g * s;
  }
};

template <class S>
struct Grid {
  std::vector<S> gate, up;
  Grid() {
    for (int i = -90; i <= 90; ++i) {
      for (int j = -40; j <= 40; ++j) {
        gate.push_back(static_cast<S>(0.11 * i));
        up.push_back(static_cast<S>(0.26 * j + 0.001));
      }
    }
  }
};

constexpr moe::ClampedSwiglu kNumbers[] = {{}, {1, 10, 0}, {1.702, 3, 1}, {0.5, 1e9, 2}};

}  // namespace

TEMPLATE_TEST_CASE("the clamped SwiGLU and its gradients are accurate", "[kernel]", float, double) {
  using S = TestType;
  const auto eps = static_cast<double>(std::numeric_limits<S>::epsilon());
  const Grid<S> grid;
  for (const moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (const auto& numbers : kNumbers) {
      const auto value = forward(numbers, grid.gate, grid.up);
      std::vector<S> dgate = grid.gate, dup = grid.up;
      backward(numbers, dgate, dup);
      double worst = 0;
      for (std::size_t i = 0; i < value.size(); ++i) {
        const Exact exact(numbers, grid.gate[i], grid.up[i]);
        const auto off = [&](S got, long double want) {
          worst = std::max(worst,
                           static_cast<double>(std::abs(got - want) / (1 + std::abs(want)) / eps));
        };
        off(value[i], exact.value);
        off(dgate[i], exact.dgate);
        off(dup[i], exact.dup);
      }
      CAPTURE(moe::isa_name(isa), numbers.alpha, numbers.limit);
      CHECK(worst < 6);
    }
  }
}

TEMPLATE_TEST_CASE("the clamped SwiGLU has limits, and passes gradients just at its bounds",
                   "[kernel]", float, double) {
  using S = TestType;
  const S inf = std::numeric_limits<S>::infinity(), nan = std::numeric_limits<S>::quiet_NaN();
  const moe::ClampedSwiglu numbers;  // limit 7
  const std::vector<S> gate{inf, -inf, nan, 7, 8, 1, 1, 1, 1}, up{1, 1, 1, 1, 1, 7, -7, inf, nan};
  for (const moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    CAPTURE(moe::isa_name(isa));
    const auto v = forward(numbers, gate, up);
    CHECK(v[0] == v[3]);
    CHECK(v[0] == v[4]);
    CHECK(std::abs(v[1]) < S(1e-30));
    CHECK(std::isnan(v[2]));
    CHECK(v[7] == v[5]);
    CHECK(std::isnan(v[8]));
    std::vector<S> dgate = gate, dup = up;
    backward(numbers, dgate, dup);
    CHECK(dgate[0] == 0);
    CHECK(std::abs(dgate[1]) < S(1e-30));
    CHECK(std::isnan(dgate[2]));
    CHECK(dgate[3] > 1);
    CHECK(dgate[4] == 0);
    CHECK(dup[5] > S(0.5));
    CHECK(dup[6] == dup[5]);
    CHECK(dup[7] == 0);
    CHECK(std::isnan(dgate[8]));
  }
}

TEST_CASE("the clamped SwiGLU has the same bits on every instruction set, size and alignment",
          "[kernel]") {
  const Grid<float> grid;
  for (const auto& numbers : kNumbers) {
    std::vector<float> first, first_gate, first_up;
    for (const moe::Isa isa : moe::available_isas()) {
      const UseIsa use(isa);
      const auto same = [](const auto& a, const auto& b) {
        return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
      };
      const auto value = forward(numbers, grid.gate, grid.up);
      std::vector<float> dgate = grid.gate, dup = grid.up;
      backward(numbers, dgate, dup);
      if (first.empty()) first = value, first_gate = dgate, first_up = dup;
      CHECK(same(value, first));
      CHECK(same(dgate, first_gate));
      CHECK(same(dup, first_up));
      for (std::ptrdiff_t n = 1; n < 40; ++n) {
        for (const std::size_t shift : {0u, 1u, 5u}) {
          const auto part =
              forward<float>(numbers, {grid.gate.begin() + 99, grid.gate.begin() + 99 + n},
                             {grid.up.begin() + 99, grid.up.begin() + 99 + n}, shift);
          CHECK(std::memcmp(part.data(), first.data() + 99, part.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}
