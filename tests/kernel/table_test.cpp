// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every pointer of the kernel table on every instruction set, against plain loops, in memory of
// exactly the size the kernels may touch: all widths around a few vectors, all misalignments.
// Elsewhere: softmax, sigmoid, dot in rows_test, combine and spread in slots_test, activate in
// activation_test.
#include "moe/kernel/table.hpp"

#include <cstring>

#include "kernel/ffn_problem.hpp"
#include "moe/kernel/kernels.hpp"
#include "moe/kernel/packed.hpp"
#include "support/catch.hpp"

using namespace moe_test;

namespace {

template <class S>
constexpr Index kShifts = static_cast<Index>(64 / sizeof(S));

template <class S>
bool same(const std::vector<S>& a, const std::vector<S>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0);
}

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// f(shift, width) for all misalignments and all widths to four vectors and more.
template <class S, class F>
void for_all_sizes(F&& f) {
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Index shift = 0; shift < kShifts<S>; ++shift) {
      for (Index n = 0; n < 70; ++n) {
        CAPTURE(moe::isa_name(isa), shift, n);
        CHECK(f(shift, n));
      }
    }
  }
}

/// Products leave c in whole panels.
Index padded(Index n) { return (n + 31) / 32 * 32; }

}  // namespace

TEMPLATE_TEST_CASE("the kernel store writes rows with their bias", "[kernel]", float, double) {
  using S = TestType;
  const std::vector<std::int32_t> token{2, 0};
  const auto weight = random_values<S>(2, 1);
  for_all_sizes<S>([&](Index shift, Index n) {
    const Index ldc = padded(n) + 1;
    const auto c = random_values<S>(2 * ldc, 2), bias = random_values<S>(shift + n, 3);
    const auto before = random_values<S>(shift + 3 * n, 4);
    bool good = true;
    for (int mode = 0; mode < 8; ++mode) {
      const bool accumulate = (mode & 1) != 0, biased = (mode & 2) != 0, mapped = (mode & 4) != 0;
      std::vector<S> y(before), expected(before);
      moe::detail::kernels<S>().store(
          {c.data(), ldc, 2, n, mapped ? token.data() : nullptr, mapped ? weight.data() : nullptr,
           biased ? bias.data() + shift : nullptr, y.data() + shift, n, accumulate});
      for (Index r = 0; r < 2; ++r) {
        const Index row = mapped ? token[at(r)] : r;
        for (Index i = 0; i < n; ++i) {
          S v = c[at(r * ldc + i)];
          if (biased) v = std::fma(mapped ? weight[at(r)] : S(1), bias[at(shift + i)], v);
          S& out = expected[at(shift + row * n + i)];
          out = accumulate ? out + v : v;
        }
      }
      good = good && same(y, expected);
    }
    return good;
  });
}

TEMPLATE_TEST_CASE("the kernel column_sum adds one chain per column", "[kernel]", float, double) {
  using S = TestType;
  const std::vector<std::int32_t> index{2, 0, 2};
  const auto weight = random_values<S>(3, 1);
  for_all_sizes<S>([&](Index shift, Index n) {
    const auto x = random_values<S>(shift + 3 * n, 2), before = random_values<S>(shift + n, 3);
    bool good = true;
    for (const bool mapped : {false, true}) {
      for (Index rows : {0, 1, 3}) {
        std::vector<S> sum(before), expected(before);
        moe::detail::kernels<S>().column_sum({x.data() + shift, n, mapped ? index.data() : nullptr,
                                              mapped ? weight.data() : nullptr, rows, n,
                                              sum.data() + shift});
        for (Index i = 0; i < n; ++i) {
          S chain = 0;
          for (Index r = 0; r < rows; ++r) {
            const Index row = mapped ? index[at(r)] : r;
            chain = std::fma(mapped ? weight[at(r)] : S(1), x[at(shift + row * n + i)], chain);
          }
          expected[at(shift + i)] += chain;
        }
        good = good && same(sum, expected);
      }
    }
    return good;
  });
}

TEST_CASE("activate_backward has the bits of the scalar kernel at any width and alignment",
          "[kernel]") {
  for (const bool gated : {false, true}) {
    for (Index n = 0; n < 70; ++n) {
      for (Index shift = 0; shift < 16; ++shift) {
        const Index half = moe::detail::kHalf<float>, per_panel = gated ? half : 2 * half;
        const Index panels = (n + per_panel - 1) / per_panel, ldc = panels * 2 * half;
        const auto c = random_values<float>(2 * ldc, 1);
        const auto weight = random_values<float>(2, 2);
        const auto gate = random_values<float>(shift + 2 * n, 3, 4);
        const auto in = random_values<float>(shift + 2 * n, 4, 4);
        const auto run = [&] {
          std::vector<float> g(gate), z(in), hidden(gate), dot(at(2 * panels));
          moe::detail::kernels<float>().activate_backward(
              {c.data(), ldc, 2, n, gated, Activation::silu, weight.data(),
               gated ? g.data() + shift : nullptr, z.data() + shift, hidden.data() + shift, n,
               dot.data(), panels});
          return std::vector{g, z, hidden, dot};
        };
        const UseIsa use(moe::Isa::scalar);
        const auto first = run();
        Index wrong = 0;
        for (moe::Isa isa : moe::available_isas()) {
          moe::set_isa(isa);
          const auto now = run();
          for (std::size_t i = 0; i < now.size(); ++i) wrong += !same(now[i], first[i]);
        }
        CAPTURE(gated, n, shift);
        CHECK(wrong == 0);
      }
    }
  }
}

TEMPLATE_TEST_CASE("packing puts each element in its place and reads no other", "[kernel]", float,
                   double) {
  using S = TestType;
  constexpr Index kRows = 17, kSpill = 16;
  std::vector<std::int32_t> index(at(kRows));
  for (Index i = 0; i < kRows; ++i) index[at(i)] = static_cast<std::int32_t>((i * 5 + 2) % kRows);
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Index depth = 1; depth < 40; ++depth) {
      for (Index count = 1; count <= 12; ++count) {
        const Index shift = (depth + count) % kShifts<S>, first = count % 4, k0 = depth / 3;
        const Index kc = depth - k0, width = count + count % 3;
        Index wrong = 0;
        for (const bool mapped : {false, true}) {
          for (const bool row_wise : {false, true}) {
            // [kRows][depth] row by row, or [kRows][first + count] with k along the rows
            const Index cols = row_wise ? depth : first + count;
            const Index steps = row_wise ? kc : std::min(kc, kRows - k0);
            if (steps <= 0) continue;
            const auto src = random_values<S>(shift + kRows * cols, 1);
            std::vector<S> dst(at(steps * width + kSpill), S(0));
            const moe::detail::PackArgs<S> args{src.data() + shift,
                                                mapped ? index.data() : nullptr,
                                                cols,
                                                first,
                                                count,
                                                k0,
                                                steps,
                                                dst.data(),
                                                width,
                                                width};
            const auto& table = moe::detail::kernels<S>();
            (row_wise ? table.pack_rows : table.pack_k_major)(args);
            const auto row = [&](Index i) { return mapped ? Index{index[at(i)]} : i; };
            for (Index k = 0; k < steps; ++k) {
              for (Index i = 0; i < count; ++i) {
                const Index from =
                    row_wise ? row(first + i) * cols + k0 + k : row(k0 + k) * cols + first + i;
                wrong += dst[at(k * width + i)] != src[at(shift + from)];
              }
            }
          }
        }
        CAPTURE(moe::isa_name(isa), depth, count);
        CHECK(wrong == 0);
      }
    }
  }
}

namespace {

/// a [groups] per row as balanced tiles of at most mr rows, and b as panels.
template <class S>
struct TileCase {
  Index rows, groups, panels;
  std::vector<S> a, b, packed;

  TileCase(Index rows_, Index groups_, Index panels_, Index mr)
      : rows(rows_), groups(groups_), panels(panels_) {
    a = random_values<S>(rows * groups, 1);
    b = random_values<S>(panels * groups * moe::detail::kLanes<S>, 2);
    const Index count = (rows + mr - 1) / mr;
    for (Index i = 0, row = 0; i < count; ++i) {
      const Index height = rows / count + (i < rows % count ? 1 : 0);
      for (Index k = 0; k < groups; ++k) {
        for (Index r = row; r < row + height; ++r) packed.push_back(a[at(r * groups + k)]);
      }
      row += height;
    }
  }
  /// c += a b over the k-groups [k0, k0 + kc).
  void multiply(void (*tiles)(const moe::detail::TileArgs<S>&), Index k0, Index kc, bool first,
                std::vector<S>& c, Index together = 4, const moe::detail::Ahead& next = {}) const {
    constexpr Index kLanes = moe::detail::kLanes<S>;
    tiles({packed.data(), groups, k0, kc, rows, b.data() + k0 * kLanes, groups * kLanes, panels,
           together, c.data(), panels * kLanes, first, next});
  }
  /// Every value v becomes the pair (v, v / 2) in bfloat16.
  void make_pairs() {
    for (auto* values : {&a, &b, &packed}) {
      for (S& v : *values) {
        const std::uint32_t low = moe::detail::to_bf16(v), high = moe::detail::to_bf16(v / 2);
        v = std::bit_cast<float>(low | high << 16);
      }
    }
  }
  const S& b_at(Index k, Index col) const {
    constexpr Index kLanes = moe::detail::kLanes<S>;
    return b[at((col / kLanes * groups + k) * kLanes + col % kLanes)];
  }
};

}  // namespace

TEMPLATE_TEST_CASE("tiles are one chain per output, in one slice or several", "[kernel]", float,
                   double) {
  using S = TestType;
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    const auto& table = moe::detail::kernels<S>();
    for (Index rows = 1; rows <= 2 * table.mr + 1; ++rows) {
      for (Index panels = 1; panels <= 5; ++panels) {
        for (Index groups : {1, 2, 18}) {
          const TileCase<S> t(rows, groups, panels, table.mr);
          const Index cols = panels * moe::detail::kLanes<S>, half = groups / 2;
          std::vector<S> expected(at(rows * cols)), whole(expected.size(), S(9)), parts(whole);
          for (Index r = 0; r < rows; ++r) {
            for (Index col = 0; col < cols; ++col) {
              S sum = 0;
              for (Index k = 0; k < groups; ++k)
                sum = std::fma(t.a[at(r * groups + k)], t.b_at(k, col), sum);
              expected[at(r * cols + col)] = sum;
            }
          }
          t.multiply(table.tiles, 0, groups, true, whole);
          // What is asked for ahead, even beyond all memory, is no part of the result.
          const moe::detail::Ahead next{
              {reinterpret_cast<std::uintptr_t>(t.b.data()), 64}, 128, 64};
          if (half > 0) t.multiply(table.tiles, 0, half, true, parts, 1, next);
          t.multiply(table.tiles, half, groups - half, half == 0, parts, 1, next);
          CAPTURE(moe::isa_name(isa), rows, panels, groups);
          CHECK(same(whole, expected));
          CHECK(same(parts, expected));
        }
      }
    }
  }
}

TEST_CASE("bfloat16 rows, panels and tiles mean what the float ones do", "[kernel]") {
  using moe::detail::to_bf16;
  const auto value = [](std::uint16_t h) { return std::bit_cast<float>(std::uint32_t{h} << 16); };
  const auto halves = [](float pair, int i) {
    return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(pair) >> (16 * i));
  };
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    const auto& table = moe::detail::kernels<float>();
    CAPTURE(moe::isa_name(isa));
    CHECK((table.to_bf16 == nullptr) == (table.tiles_bf16 == nullptr));
    Index wrong = 0;
    for (Index n = 0; n < 70 && table.to_bf16 != nullptr; ++n) {
      for (Index shift = 0; shift < 16; ++shift) {
        const auto x = random_values<float>(shift + n, 1);
        std::vector<float> pairs(at((n + 1) / 2));
        table.to_bf16(x.data() + shift, n, pairs.data());
        for (Index i = 0; i < 2 * std::ssize(pairs); ++i) {
          const std::uint32_t expected = i < n ? to_bf16(x[at(shift + i)]) : 0u;
          wrong += halves(pairs[at(i / 2)], static_cast<int>(i % 2)) != expected;
        }
      }
    }
    CHECK(wrong == 0);
    for (Index kc = 0; kc < 9; ++kc) {  // a panel of kc rows, two in each value
      const auto panel = random_values<float>((kc + 1) / 2 * 32, 2);
      std::vector<float> wide(at(kc * 32));
      table.widen_bf16(panel.data(), kc, wide.data());
      for (Index i = 0; i < kc * 32; ++i) {
        const float pair = panel[at(i / 64 * 32 + i % 32)];
        const auto half = static_cast<int>(i / 32 % 2);
        wrong += std::bit_cast<std::uint32_t>(wide[at(i)]) != std::uint32_t{halves(pair, half)}
                                                                  << 16;
      }
    }
    CHECK(wrong == 0);
    for (Index rows = 1; rows <= 2 * table.mr + 1 && table.tiles_bf16 != nullptr; ++rows) {
      for (Index panels = 1; panels <= 5; ++panels) {
        TileCase<float> t(rows, 5, panels, table.mr);
        t.make_pairs();
        std::vector<float> c(at(rows * panels * 32), 9.0f);
        t.multiply(table.tiles_bf16, 0, 5, true, c);
        double worst = 0;
        for (Index i = 0; i < std::ssize(c); ++i) {
          double sum = 0;
          for (Index k = 0; k < 5; ++k) {
            const float a = t.a[at(i / (panels * 32) * 5 + k)], b = t.b_at(k, i % (panels * 32));
            for (int h : {0, 1}) {
              sum += static_cast<double>(value(halves(a, h))) *
                     static_cast<double>(value(halves(b, h)));
            }
          }
          worst =
              std::max(worst, std::abs(static_cast<double>(c[at(i)]) - sum) / (1 + std::abs(sum)));
        }
        CAPTURE(rows, panels);
        CHECK(worst < 1e-5);
      }
    }
  }
}
