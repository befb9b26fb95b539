// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/kernel/linear.hpp"

#include <cstring>

#include "kernel/ffn_problem.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace moe_test;

namespace {

template <class S>
struct LinearCase {
  Index m, n, k, pad;
  std::vector<S> x, w, bias, dy;

  LinearCase(Index m_, Index n_, Index k_, Index pad_) : m(m_), n(n_), k(k_), pad(pad_) {
    const auto size = [&](Index rows, Index cols) {
      return rows == 0 ? 0 : (rows - 1) * (cols + pad) + cols;
    };
    x = random_values<S>(size(m, k), 1);
    w = random_values<S>(size(n, k), 2);
    bias = random_values<S>(n, 3);
    dy = random_values<S>(size(m, n), 4);
  }
  template <class T>
  MatrixView<T> view(T* data, Index rows, Index cols) const {
    return {data, rows, cols, cols + pad};
  }
  auto forward(moe::ExecutorRef executor = {}, bool with_bias = true) const {
    std::vector<S> y(dy.size(), S(0));
    moe::LinearScratch<S> scratch;
    moe::linear_forward<S>(view(x.data(), m, k), view(w.data(), n, k),
                           with_bias ? bias.data() : nullptr, view(y.data(), m, n), scratch,
                           executor);
    return y;
  }
  /// dx, dw and dbias, each starting at one.
  auto backward(moe::ExecutorRef executor = {}) const {
    std::vector<std::vector<S>> g{std::vector<S>(x.size(), S(1)), std::vector<S>(w.size(), S(1)),
                                  std::vector<S>(bias.size(), S(1))};
    moe::LinearScratch<S> scratch;
    moe::linear_backward<S>(view(x.data(), m, k), view(w.data(), n, k), view(dy.data(), m, n),
                            view(g[0].data(), m, k), view(g[1].data(), n, k), g[2].data(), scratch,
                            executor);
    return g;
  }
};

template <class S>
void check_against_double(const LinearCase<S>& c) {
  const auto d = [](S v) { return static_cast<double>(v); };
  std::vector<double> y(c.dy.size(), 0.0), dx(c.x.size(), 1.0), dw(c.w.size(), 1.0),
      db(c.bias.size(), 1.0);
  const auto i = [&](Index row, Index cols, Index col) {
    return static_cast<std::size_t>(row * (cols + c.pad) + col);
  };
  for (Index m = 0; m < c.m; ++m) {
    for (Index n = 0; n < c.n; ++n) {
      const double g = d(c.dy[i(m, c.n, n)]);
      double sum = d(c.bias[static_cast<std::size_t>(n)]);
      for (Index k = 0; k < c.k; ++k) {
        sum += d(c.x[i(m, c.k, k)]) * d(c.w[i(n, c.k, k)]);
        dx[i(m, c.k, k)] += g * d(c.w[i(n, c.k, k)]);
        dw[i(n, c.k, k)] += g * d(c.x[i(m, c.k, k)]);
      }
      y[i(m, c.n, n)] = sum;
      db[static_cast<std::size_t>(n)] += g;
    }
  }
  const double tolerance =
      2e-7 * (sizeof(S) == 4 ? 1 : 1e-8) * static_cast<double>(8 + c.k + c.n + c.m);
  const auto forward = c.forward();
  const auto g = c.backward();
  CHECK(distance(forward, y) < tolerance);
  // The gaps between rows keep their ones in the gradients, as they do in the reference.
  CHECK(distance(g[0], dx) < tolerance);
  CHECK(distance(g[1], dw) < tolerance);
  CHECK(distance(g[2], db) < tolerance);
}

}  // namespace

TEMPLATE_TEST_CASE("a linear map agrees with the textbook loop on every instruction set",
                   "[kernel]", float, double) {
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    CAPTURE(moe::isa_name(isa));
    for (Index m : {0, 1, 2, 3, 4, 7, 12, 13, 25}) {
      for (Index n : {1, 5, 15, 16, 17, 31, 32, 33, 64, 131}) {
        for (Index k : {1, 3, 4, 17, 64}) {
          CAPTURE(m, n, k);
          check_against_double(LinearCase<TestType>(m, n, k, (m + n) % 3));
        }
      }
    }
    check_against_double(LinearCase<TestType>(401, 35, 300, 1));
    check_against_double(LinearCase<TestType>(3, 600, 1030, 0));
    // Several blocks of rows and several slices: deeper than kc, more rows than mc.
    check_against_double(LinearCase<TestType>(401, 40, 1030, 0));
    // Few columns of many rows, which change places: as logits, and as gradients of them.
    check_against_double(LinearCase<TestType>(150, 7, 1030, 1));
    check_against_double(LinearCase<TestType>(1030, 131, 4, 0));
  }
}

TEST_CASE("a row of a linear map has the same bits among few rows and among many", "[kernel]") {
  for (const Index n : {1, 4, 8}) {
    const LinearCase<float> many(200, n, 50, 0);
    const auto y = many.forward();
    for (const Index m : {1, 5, 63, 64, 199}) {
      LinearCase<float> few(m, n, 50, 0);
      few.w = many.w, few.bias = many.bias;
      std::copy_n(many.x.begin(), few.x.size(), few.x.begin());
      CHECK(std::memcmp(few.forward().data(), y.data(), few.dy.size() * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("an empty contraction gives the bias", "[kernel]") {
  const LinearCase<float> c(5, 40, 0, 2);
  const auto y = c.forward();
  for (std::size_t j = 0; j < 40; ++j) CHECK(y[42 + j] == c.bias[j]);
}

TEST_CASE("a linear map has the same bits on every instruction set and any number of threads",
          "[kernel]") {
  for (auto [m, n, k] : {std::array<Index, 3>{1, 129, 700},
                         {2, 64, 515},
                         {3, 200, 300},
                         {13, 40, 257},
                         {150, 70, 130},
                         {6, 333, 1000},
                         {800, 33, 90},
                         {700, 7, 1030},
                         {1030, 131, 4}}) {
    const LinearCase<float> c(m, n, k, 0);
    std::vector<float> y;
    std::vector<std::vector<float>> g;
    for (moe::Isa isa : moe::available_isas()) {
      const UseIsa use(isa);
      for (Index size : {1, 2, 5}) {
        Threads threads(size);
        CAPTURE(moe::isa_name(isa), size, m, n, k);
        const auto y_now = c.forward(threads);
        const auto g_now = c.backward(threads);
        if (y.empty()) y = y_now, g = g_now;
        CHECK(y == y_now);
        CHECK(g == g_now);
      }
    }
  }
}
