// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The kernels behind dispatch and combine, on every instruction set: all widths around a few vectors,
// all misalignments, through the cache and past it.
#include <cstring>

#include "kernel/ffn_problem.hpp"
#include "moe/kernel/slot_rows.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace moe_test;

namespace {

/// Rows of tokens and rows of slots, each in memory of exactly its size behind `shift` values.
template <class S>
struct SlotCase {
  Index tokens, k, d, shift;
  Index slots = 0;
  std::vector<std::int32_t> slot;  ///< [T, K], in no order, some -1
  std::vector<S> weight;
  std::vector<S> token_rows, slot_rows;

  SlotCase(Index tokens_, Index k_, Index d_, Index shift_)
      : tokens(tokens_), k(k_), d(d_), shift(shift_) {
    for (Index a = 0; a < tokens * k; ++a) {
      const bool none = a % 5 == 3 || a / k == 1;  // token 1 has no slot at all
      slot.push_back(none ? -1 : static_cast<std::int32_t>(slots++));
    }
    for (std::int32_t& s : slot) {  // scattered, and descending as often as not
      if (s >= 0) s = static_cast<std::int32_t>((s * 7 + 3) % slots);
    }
    if (slots % 7 == 0) slot.assign(slot.size(), -1), slots = 0;
    weight = random_values<S>(slots, 3);
    token_rows = random_values<S>(shift + tokens * d, 4);
    slot_rows = random_values<S>(shift + slots * d, 5);
  }

  std::vector<S> combine(bool weighted, bool accumulate, bool stream) const {
    std::vector<S> y(token_rows);
    moe::detail::kernels<S>().combine({slot_rows.data() + shift, d, slot.data(),
                                       weighted ? weight.data() : nullptr, k, tokens, d,
                                       y.data() + shift, d, accumulate, stream});
    return y;
  }
  std::vector<S> spread(bool weighted, bool stream, std::vector<S>* dot) const {
    std::vector<S> y(slot_rows);
    moe::detail::kernels<S>().spread({token_rows.data() + shift, d, slot.data(),
                                      weighted ? weight.data() : nullptr, k, tokens, d,
                                      y.data() + shift, d, stream, slot_rows.data() + shift, d,
                                      dot != nullptr ? dot->data() : nullptr});
    return y;
  }

  S token_value(Index t, Index i) const {
    return token_rows[static_cast<std::size_t>(shift + t * d + i)];
  }
  S slot_value(Index s, Index i) const {
    return slot_rows[static_cast<std::size_t>(shift + s * d + i)];
  }
  std::vector<std::int32_t> slots_of(Index t) const {
    std::vector<std::int32_t> mine;
    for (Index j = 0; j < k; ++j) {
      const std::int32_t s = slot[static_cast<std::size_t>(t * k + j)];
      if (s >= 0) mine.push_back(s);
    }
    std::sort(mine.begin(), mine.end());
    return mine;
  }

  std::vector<S> naive_combine(bool weighted, bool accumulate) const {
    std::vector<S> y(token_rows);
    for (Index t = 0; t < tokens; ++t) {
      for (Index i = 0; i < d; ++i) {
        S sum = accumulate ? token_value(t, i) : S(0);
        for (const std::int32_t s : slots_of(t)) {
          const S w = weighted ? weight[static_cast<std::size_t>(s)] : S(1);
          sum = std::fma(w, slot_value(s, i), sum);
        }
        y[static_cast<std::size_t>(shift + t * d + i)] = sum;
      }
    }
    return y;
  }
  std::vector<S> naive_spread(bool weighted) const {
    std::vector<S> y(slot_rows);
    for (Index t = 0; t < tokens; ++t) {
      for (const std::int32_t s : slots_of(t)) {
        for (Index i = 0; i < d; ++i) {
          const S w = weighted ? weight[static_cast<std::size_t>(s)] : S(1);
          y[static_cast<std::size_t>(shift + s * d + i)] = w * token_value(t, i);
        }
      }
    }
    return y;
  }
  std::vector<S> naive_dot() const {
    std::vector<S> dot(static_cast<std::size_t>(slots), S(9));
    for (Index t = 0; t < tokens; ++t) {
      for (const std::int32_t s : slots_of(t)) {
        dot[static_cast<std::size_t>(s)] = moe::detail::kernels<S>().dot(
            slot_rows.data() + shift + s * d, token_rows.data() + shift + t * d, d);
      }
    }
    return dot;
  }
};

template <class S>
bool same(const std::vector<S>& a, const std::vector<S>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0);
}

template <class S>
void check_every_mode(const SlotCase<S>& c) {
  Index wrong = 0;
  for (const bool weighted : {false, true}) {
    for (const bool stream : {false, true}) {
      for (const bool accumulate : {false, true}) {
        wrong +=
            !same(c.combine(weighted, accumulate, stream), c.naive_combine(weighted, accumulate));
      }
      std::vector<S> dot(static_cast<std::size_t>(c.slots), S(9));
      wrong += !same(c.spread(weighted, stream, &dot), c.naive_spread(weighted));
      wrong += !same(dot, c.naive_dot());
      wrong += !same(c.spread(weighted, stream, nullptr), c.naive_spread(weighted));
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("combine and spread have the bits of the plain loop at any width and alignment",
                   "[kernel]", float, double) {
  using S = TestType;
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Index shift = 0; shift < static_cast<Index>(64 / sizeof(S)); ++shift) {
      for (Index d = 0; d < 70; ++d) {
        CAPTURE(moe::isa_name(isa), shift, d);
        check_every_mode(SlotCase<S>(3, 2, d, shift));
      }
      for (Index d : {128, 129, 300}) check_every_mode(SlotCase<S>(4, 3, d, shift));
    }
  }
}

TEST_CASE("a token may have more slots than are worked on at once", "[kernel]") {
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    for (Index k : {1, 15, 16, 17, 20, 40, 100}) {
      CAPTURE(moe::isa_name(isa), k);
      check_every_mode(SlotCase<float>(5, k, 37, 1));
    }
  }
}

TEST_CASE("rows can be scaled where they lie", "[kernel]") {
  for (moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    const auto weight = random_values<float>(3, 1), before = random_values<float>(3 * 141, 2);
    auto x = before;
    moe::detail::kernels<float>().spread({x.data(), 141, nullptr, weight.data(), 1, 3, 141,
                                          x.data(), 141, false, nullptr, 0, nullptr});
    Index wrong = 0;
    for (std::size_t i = 0; i < x.size(); ++i) wrong += x[i] != weight[i / 141] * before[i];
    CHECK(wrong == 0);
  }
}

TEST_CASE("threads share the rows of dispatch and combine without changing a bit", "[kernel]") {
  const SlotCase<float> c(301, 4, 500, 0);
  const MatrixView<const float> x(c.slot_rows.data(), c.slots, 500),
      dy(c.token_rows.data(), 301, 500);
  for (Index size : {1, 2, 3, 4}) {
    Threads threads(size);
    std::vector<float> y(c.token_rows), rows(c.slot_rows),
        dot(static_cast<std::size_t>(c.slots), 9);
    moe::detail::combine_rows<float>(x, c.slot, c.weight, {y.data(), 301, 500}, true, threads);
    CHECK(same(y, c.naive_combine(true, true)));
    moe::detail::spread_rows<float>(dy, c.slot, {}, {rows.data(), c.slots, 500}, threads);
    CHECK(same(rows, c.naive_spread(false)));
    moe::detail::combine_rows_backward<float>(dy, x, c.slot, c.weight, {rows.data(), c.slots, 500},
                                              dot, threads);
    CHECK(same(rows, c.naive_spread(true)));
    CHECK(same(dot, c.naive_dot()));
  }
}
