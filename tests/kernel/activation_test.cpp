// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/kernel/activation.hpp"

#include <cstring>

#include "kernel/ffn_problem.hpp"
#include "moe/kernel/kernels.hpp"
#include "support/catch.hpp"

using namespace moe_test;

namespace {

constexpr Activation kActivations[] = {Activation::identity, Activation::relu,
                                       Activation::gelu,     Activation::gelu_tanh,
                                       Activation::silu,     Activation::relu_squared};

/// act(z) through the kernel, from memory shifted by `shift` values.
template <class S>
std::vector<S> activate(Activation kind, const std::vector<S>& z, std::size_t shift = 0) {
  const auto n = static_cast<Index>(z.size());
  // The kernel reads c in whole panels, as products leave it; everything else in exact sizes.
  std::vector<S> c(z.size() + shift + 64, S(0)), bias(z.size() + shift, S(0)),
      out(z.size() + shift);
  std::copy(z.begin(), z.end(), c.begin() + static_cast<Index>(shift));
  moe::detail::kernels<S>().activate({c.data() + shift, 0, 1, n, false, kind, nullptr,
                                      bias.data() + shift, nullptr, out.data() + shift, nullptr,
                                      nullptr, 0});
  return {out.begin() + static_cast<Index>(shift), out.end()};
}

/// The derivative through the kernel.
template <class S>
std::vector<S> slope(Activation kind, std::vector<S> z) {
  std::vector<S> c(z.size(), S(1)), hidden(z.size()), dot(z.size() / 16 + 1);
  const S weight[] = {S(1)};
  moe::detail::kernels<S>().activate_backward({c.data(), 0, 1, static_cast<Index>(z.size()), false,
                                               kind, weight, nullptr, z.data(), hidden.data(), 0,
                                               dot.data(), 0});
  return z;
}

/// act(z) and its derivative with digits to spare. (1 + tanh u)/2 = 1/(1 + e^-2u) keeps them in the
/// tail, where the left side cancels.
void exactly(Activation kind, long double z, long double& value, long double& slope) {
  const long double root = 0.7978845608028653558798921198687L;  // sqrt(2/pi)
  switch (kind) {
    case Activation::relu:
      value = z > 0 ? z : 0, slope = z > 0 ? 1 : 0;
      return;
    case Activation::gelu: {
      const long double cdf = std::erfc(-z / std::sqrt(2.0L)) / 2;
      value = z * cdf, slope = cdf + z * root / 2 * std::exp(-z * z / 2);
      return;
    }
    case Activation::gelu_tanh: {
      const long double s = 1 / (1 + std::exp(-2 * root * (z + 0.044715L * z * z * z)));
      value = z * s, slope = s + z * s * (1 - s) * 2 * root * (1 + 3 * 0.044715L * z * z);
      return;
    }
    case Activation::silu: {
      const long double s = 1 / (1 + std::exp(-z));
      value = z * s, slope = s + z * s * (1 - s);
      return;
    }
    case Activation::relu_squared:
      value = z > 0 ? z * z : 0, slope = z > 0 ? 2 * z : 0;
      return;
    case Activation::identity:
    case Activation::clamped_swiglu:  // of two arguments: clamped_test.cpp
      value = z, slope = 1;
      return;
  }
}

template <class S>
std::vector<S> grid() {
  std::vector<S> z;
  for (int i = -6000; i <= 6000; ++i) z.push_back(static_cast<S>(i * 0.0025));
  for (double x = 1e-8; x < 1e-2; x *= 3)
    z.push_back(static_cast<S>(x)), z.push_back(static_cast<S>(-x));
  return z;
}

}  // namespace

TEMPLATE_TEST_CASE("activations and their derivatives are accurate", "[kernel]", float, double) {
  using S = TestType;
  const double eps = static_cast<double>(std::numeric_limits<S>::epsilon());
  const auto z = grid<S>();
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Activation kind : kActivations) {
      const auto value = activate(kind, z), d = slope(kind, z);
      double worst_value = 0, worst_slope = 0;
      for (std::size_t i = 0; i < z.size(); ++i) {
        long double exact, exact_slope;
        exactly(kind, z[i], exact, exact_slope);
        // In the tails the exponent is large and its rounding counts that many times.
        const double scale = 1 + std::pow(static_cast<double>(std::min(z[i], S(0))), 2) / 8;
        worst_value = std::max(worst_value, static_cast<double>(std::abs(value[i] - exact) /
                                                                (std::abs(exact) + 1e-30L)) /
                                                eps / scale);
        worst_slope =
            std::max(worst_slope, static_cast<double>(std::abs(d[i] - exact_slope)) / eps);
      }
      CAPTURE(moe::isa_name(isa), static_cast<int>(kind));
      CHECK(worst_value < 8);
      CHECK(worst_slope < 4);
    }
  }
}

TEMPLATE_TEST_CASE("activations of extreme arguments are their limits", "[kernel]", float, double) {
  using S = TestType;
  const S inf = std::numeric_limits<S>::infinity(), max = std::numeric_limits<S>::max();
  const S tiny = std::numeric_limits<S>::denorm_min(), nan = std::numeric_limits<S>::quiet_NaN();
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Activation kind : kActivations) {
      CAPTURE(moe::isa_name(isa), static_cast<int>(kind));
      const auto v = activate<S>(kind, {inf, -inf, max, -max, nan, 0, tiny, 1000, -1000});
      const auto d = slope<S>(kind, {inf, -inf, max, -max, nan, 0, tiny, 1000, -1000});
      if (kind == Activation::relu_squared) {  // no line on the right
        CHECK((v[0] == inf && v[1] == 0 && v[3] == 0 && v[5] == 0 && v[7] == 1e6 && v[8] == 0));
        CHECK((d[0] == inf && d[1] == 0 && d[5] == 0 && d[7] == 2000 && d[8] == 0));
        CHECK((std::isnan(v[4]) && std::isnan(d[4])));
        continue;
      }
      const bool line = kind == Activation::identity;
      CHECK(v[0] == inf);
      CHECK(v[2] == max);
      CHECK(v[7] == 1000);
      CHECK(std::isnan(v[4]));
      CHECK(v[5] == 0);
      CHECK(std::abs(v[6]) <= tiny);
      CHECK((line ? v[1] == -inf : v[1] == 0));
      CHECK((line ? v[3] == -max : v[3] == 0));
      CHECK((line ? v[8] == -1000 : v[8] == 0));
      for (std::size_t i : {0u, 2u, 7u}) CHECK(d[i] == 1);
      for (std::size_t i : {1u, 3u, 8u}) CHECK(d[i] == (line ? 1 : 0));
      CHECK(std::isnan(d[4]) == !line);
    }
  }
}

TEST_CASE("activations have the same bits on every instruction set, size and alignment",
          "[kernel]") {
  auto z = grid<float>();
  for (float x : {88.0f, -88.0f, -87.5f, -103.9f, -104.1f, 1e-40f, -1e-40f, 1e30f, -1e30f})
    z.push_back(x);
  for (Activation kind : kActivations) {
    std::vector<float> first, first_slope;
    for (moe::Isa isa : moe::available_isas()) {
      const UseIsa use(isa);
      const auto value = activate(kind, z), d = slope(kind, z);
      if (first.empty()) first = value, first_slope = d;
      CHECK(std::memcmp(value.data(), first.data(), value.size() * 4) == 0);
      CHECK(std::memcmp(d.data(), first_slope.data(), d.size() * 4) == 0);
      for (std::size_t n = 0; n < 40; ++n) {
        for (std::size_t shift : {0u, 1u, 5u}) {
          const auto part = activate<float>(
              kind, {z.begin() + 2000, z.begin() + 2000 + static_cast<Index>(n)}, shift);
          CHECK((n == 0 || std::memcmp(part.data(), first.data() + 2000, n * 4) == 0));
        }
      }
    }
  }
}

TEST_CASE("an instruction set this CPU lacks is refused", "[kernel]") {
  const moe::Isa before = moe::active_isa();
  for (moe::Isa isa : moe::kAllIsas) {
    if (moe::isa_available(isa)) {
      moe::set_isa(isa);
      CHECK(moe::active_isa() == isa);
    } else {
      CHECK_THROWS_AS(moe::set_isa(isa), std::invalid_argument);
    }
  }
  moe::set_isa(before);
}
