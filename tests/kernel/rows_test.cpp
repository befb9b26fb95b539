// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/kernel/rows.hpp"

#include <cstring>
#include <numeric>

#include "kernel/ffn_problem.hpp"
#include "moe/kernel/linear.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"
#include "support/threads.hpp"

using namespace moe_test;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

template <class S>
MatrixView<const S> one_row(const std::vector<S>& v) {
  return {v.data(), 1, static_cast<Index>(v.size())};
}
template <class S>
std::vector<S> softmax(const std::vector<S>& x, S scale = S(1)) {
  std::vector<S> out(x.size());
  moe::softmax_rows<S>(one_row(x), {out.data(), 1, static_cast<Index>(x.size())}, scale);
  return out;
}

}  // namespace

TEMPLATE_TEST_CASE("softmax and logsumexp agree with the formula at every width", "[kernel]", float,
                   double) {
  using S = TestType;
  const double eps = sizeof(S) == 4 ? 1e-6 : 1e-14;
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Index n = 1; n < 70; ++n) {
      CAPTURE(moe::isa_name(isa), n);
      const auto x = random_values<S>(n, static_cast<std::uint64_t>(n), 20);
      double max = -kInf, sum = 0;
      for (S v : x) max = std::max(max, 0.5 * static_cast<double>(v));
      for (S v : x) sum += std::exp(0.5 * static_cast<double>(v) - max);
      const auto p = softmax(x, S(0.5));
      for (std::size_t i = 0; i < p.size(); ++i) {
        const double exact = std::exp(0.5 * static_cast<double>(x[i]) - max) / sum;
        CHECK(std::abs(static_cast<double>(p[i]) - exact) < 4 * eps * exact);
      }
      S lse[1];
      moe::logsumexp_rows<S>(one_row(x), lse, S(0.5));
      CHECK(static_cast<double>(lse[0]) == Approx(max + std::log(sum)).epsilon(eps));
    }
  }
}

TEMPLATE_TEST_CASE(
    "softmax gives a row the same bits alone and among others, at every width and stride",
    "[kernel]", float, double) {
  using S = TestType;
  const S inf = std::numeric_limits<S>::infinity();
  for (Index cols : {1, 2, 3, 4, 7, 8, 9, 17}) {
    auto values = random_values<S>(40 * (cols + 3), static_cast<std::uint64_t>(cols), 30);
    values[static_cast<std::size_t>(5 * (cols + 3))] = std::numeric_limits<S>::quiet_NaN();
    values[static_cast<std::size_t>(9 * (cols + 3))] = inf;
    std::fill_n(values.begin() + 11 * (cols + 3), cols, -inf);
    const MatrixView<const S> x(values.data(), 40, cols, cols + 3);
    std::vector<S> expected;
    {
      const UseIsa use(moe::Isa::scalar);
      expected.resize(static_cast<std::size_t>(40 * cols));
      for (Index r = 0; r < 40; ++r) {
        moe::softmax_rows<S>({x.row(r), 1, cols}, {expected.data() + r * cols, 1, cols}, S(0.7));
      }
    }
    for (moe::Isa isa : moe::available_isas()) {
      const UseIsa use(isa);
      for (Index rows : {0, 1, 7, 8, 15, 16, 33, 40}) {
        CAPTURE(moe::isa_name(isa), cols, rows);
        std::vector<S> out(static_cast<std::size_t>(40 * (cols + 1)), S(5));
        moe::softmax_rows<S>({x.data(), rows, cols, x.stride()}, {out.data(), rows, cols, cols + 1},
                             S(0.7));
        bool same = true;
        for (Index r = 0; r < 40; ++r) {
          const S* want = expected.data() + r * cols;
          for (Index c = 0; c <= cols; ++c) {
            const S got = out[static_cast<std::size_t>(r * (cols + 1) + c)];
            const bool kept = r >= rows || c == cols;
            const S exact = kept ? S(5) : want[c];
            same = same && (got == exact || (std::isnan(got) && std::isnan(exact)));
          }
        }
        CHECK(same);
      }
    }
  }
}

TEMPLATE_TEST_CASE("logsumexp of infinities and NaN", "[kernel]", float, double) {
  using S = TestType;
  constexpr S kBig = std::numeric_limits<S>::infinity();
  const S nan = std::numeric_limits<S>::quiet_NaN();
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    const auto lse = [](std::vector<S> row, S scale = S(1)) {
      S out[1];
      moe::logsumexp_rows<S>(one_row(row), out, scale);
      return out[0];
    };
    for (const Index width : {2, 19}) {
      const auto row = [width](S first, S rest) {
        std::vector<S> x(static_cast<std::size_t>(width), rest);
        x.front() = first;
        return x;
      };
      CAPTURE(moe::isa_name(isa), width);
      CHECK(lse(row(-kBig, -kBig)) == -kBig);
      CHECK(lse(row(kBig, 1)) == kBig);
      CHECK(lse(row(1, kBig)) == kBig);
      CHECK(lse(row(1, -kBig)) == 1);
      for (const S other : {nan, S(1), kBig, -kBig}) CHECK(std::isnan(lse(row(nan, other))));
      for (const S other : {S(1), kBig, -kBig}) CHECK(std::isnan(lse(row(kBig, other), S(0))));
    }
  }
}

TEST_CASE("row kernels refuse shapes that do not fit", "[kernel][misuse]") {
  const Matrix<float> x = Matrix<float>::Zero(2, 3);
  Matrix<float> y(2, 4), w(4, 5);
  std::vector<float> lse(3);
  moe::LinearScratch<float> scratch;
  CHECK(sentence_of([&] { moe::softmax_rows<float>(x, y); }) ==
        "moe::softmax_rows: out is [2, 4], expected [2, 3]");
  CHECK(sentence_of([&] { moe::logsumexp_rows<float>(x, lse); }) ==
        "moe::logsumexp_rows: out has 3 values, the number of rows of x is 2");
  CHECK(sentence_of([&] { moe::linear_forward<float>(x, w, nullptr, y, scratch, {}); }) ==
        "moe::linear_forward: x has 3 columns, the weight's number of inputs is 5");
  const moe::PackedLinear<float> packed{MatrixView<const float>(w)};
  CHECK(sentence_of([&] { moe::linear_forward<float>(x, packed, nullptr, y, scratch, {}); }) ==
        "moe::linear_forward: x has 3 columns, the weight's number of inputs is 5");
  CHECK(sentence_of([&] {
          moe::linear_backward<float>(x, Matrix<float>(4, 3), y, w, {}, nullptr, scratch, {});
        }) == "moe::linear_backward: dx is [4, 5], expected [2, 3]");
}

TEST_CASE("row kernels have the same bits on every instruction set, width and alignment",
          "[kernel]") {
  const auto x = random_values<float>(320, 5, 100);
  for (Index n = 0; n <= 300; n += n < 70 ? 1 : 23) {
    for (Index shift = 0; shift < 16; ++shift) {
      // softmax, its logarithm, sigmoid and a dot product, from memory of exactly this size
      const auto run = [&] {
        const std::vector<float> in(x.begin(), x.begin() + shift + n);
        std::vector<float> out(static_cast<std::size_t>(shift + 2 * n + 2), 9.0f);
        const auto& table = moe::detail::kernels<float>();
        float* o = out.data() + shift;
        if (n > 0) table.softmax({in.data() + shift, n, 1, n, 0.7f, o, n, o + 2 * n});
        table.sigmoid(in.data() + shift, n, 0.3f, o + n);
        o[2 * n + 1] = table.dot(in.data() + shift, in.data(), n);
        return out;
      };
      const UseIsa use(moe::Isa::scalar);
      const auto first = run();
      Index wrong = 0;
      for (moe::Isa isa : moe::available_isas()) {
        moe::set_isa(isa);
        const auto now = run();
        wrong += std::memcmp(now.data(), first.data(), now.size() * sizeof(float)) != 0;
      }
      CAPTURE(n, shift);
      CHECK(wrong == 0);
    }
  }
}

TEMPLATE_TEST_CASE("the kernels' sigmoid is accurate at every width and has its limits", "[kernel]",
                   float, double) {
  using S = TestType;
  const S inf = std::numeric_limits<S>::infinity(), nan = std::numeric_limits<S>::quiet_NaN();
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    const auto& table = moe::detail::kernels<S>();
    for (Index n = 0; n < 70; ++n) {
      CAPTURE(moe::isa_name(isa), n);
      const auto x = random_values<S>(n, 3, 60);
      std::vector<S> s(x);
      table.sigmoid(s.data(), n, S(0.5), s.data());
      double worst = 0;
      for (std::size_t i = 0; i < s.size(); ++i) {
        const double exact = 1 / (1 + std::exp(-0.5 * static_cast<double>(x[i])));
        worst = std::max(worst, std::abs(static_cast<double>(s[i]) - exact) / exact);
      }
      CHECK(worst < 6 * static_cast<double>(std::numeric_limits<S>::epsilon()));
    }
    S limits[] = {inf, -inf, nan, 0, S(-0.0), 1000, -1000};
    table.sigmoid(limits, 7, 1, limits);
    CHECK(limits[0] == 1);
    CHECK(limits[1] == 0);
    CHECK(std::isnan(limits[2]));
    CHECK(limits[3] == S(0.5));
    CHECK(limits[4] == S(0.5));
    CHECK(limits[5] == 1);
    CHECK(limits[6] == 0);
  }
}

TEST_CASE("a softmax row with NaN is NaN; infinities keep their meaning", "[kernel]") {
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Index n : {3, 16, 21}) {
      auto x = random_values<float>(n, 5);
      x[1] = -INFINITY;
      auto p = softmax(x);
      CHECK(p[1] == 0);
      CHECK(std::accumulate(p.begin(), p.end(), 0.0) == Approx(1));
      x[static_cast<std::size_t>(n) - 1] = NAN;
      for (float v : softmax(x)) CHECK(std::isnan(v));
      for (float v : softmax(std::vector<float>(static_cast<std::size_t>(n), -INFINITY)))
        CHECK(std::isnan(v));
    }
  }
}

TEMPLATE_TEST_CASE("top-k finds the largest, ties to the lowest index, NaN last", "[kernel]", float,
                   double) {
  using S = TestType;
  const auto best = [](std::vector<S> v, std::size_t k) {
    std::vector<std::int32_t> out(k, -1);
    moe::select_top_k(v.data(), static_cast<Index>(v.size()), static_cast<Index>(k), out.data());
    return out;
  };
  const S nan = static_cast<S>(kNan), inf = static_cast<S>(kInf);
  CHECK(best({1, 3, 2}, 2) == std::vector<std::int32_t>{1, 2});
  CHECK(best({2, 2, 2, 2}, 3) == std::vector<std::int32_t>{0, 1, 2});
  CHECK(best({nan, 1, nan, -inf, 1}, 5) == std::vector<std::int32_t>{1, 4, 3, 0, 2});
  CHECK(best({nan, nan}, 1) == std::vector<std::int32_t>{0});
  CHECK(best({0, S(-0.0), 5}, 3) == std::vector<std::int32_t>{2, 0, 1});
  CHECK(best({1}, 0).empty());
  for (std::size_t n : {1u, 8u, 65u, 300u}) {
    auto v = random_values<S>(static_cast<Index>(n), n);
    for (S& x : v) x = std::round(x * 20);  // ties
    std::vector<std::int32_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      const S va = v[static_cast<std::size_t>(a)], vb = v[static_cast<std::size_t>(b)];
      return va > vb || (va == vb && a < b);
    });
    for (std::size_t k : {std::size_t{1}, n / 2, n}) {
      CHECK(best(v, k) ==
            std::vector<std::int32_t>(order.begin(), order.begin() + static_cast<Index>(k)));
    }
  }
}

TEST_CASE("dispatch_rows gathers rows, on any number of threads", "[kernel]") {
  for (Index d : {0, 1, 15, 40}) {
    const auto x = random_values<float>(3 * d, 1);
    const std::vector<std::int32_t> token{0, 2, 0, 1};
    std::vector<float> rows(static_cast<std::size_t>(4 * d), NAN);
    Threads threads(2);
    moe::dispatch_rows<float>(MatrixView<const float>(x.data(), 3, d), token, {rows.data(), 4, d},
                              threads);
    for (Index s = 0; s < 4; ++s) {
      const Index t = token[static_cast<std::size_t>(s)];
      CHECK(std::equal(rows.begin() + s * d, rows.begin() + (s + 1) * d, x.begin() + t * d));
    }
  }
}
