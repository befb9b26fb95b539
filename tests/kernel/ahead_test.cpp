// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What is asked for ahead changes no result, so that only this sees whether it is the right lines.
#include <set>

#include "moe/kernel/isa_scalar.hpp"
#include "support/catch.hpp"

namespace moe_test {
namespace {

using moe::Index;
using moe::detail::Ahead;
using moe::detail::scalar_kernels::AheadPart;
using Requests = moe::detail::scalar_kernels::Requests<16>;

/// The lines that `every` passes over kc k ask for, as a tile does.
std::set<std::uintptr_t> asked(const Ahead& ahead, Index every, Index kc, int half) {
  std::set<std::uintptr_t> lines;
  AheadPart part{ahead, every, (kc + every - 1) / every, 0};
  for (Index pass = 0; pass < every; ++pass) {
    Requests requests(part, pass, kc);
    CHECK(requests.every == every);
    for (Index left = kc; left > 0; left -= requests.every) {
      lines.insert(requests.next_line(half));
      requests.ask();
    }
  }
  return lines;
}

}  // namespace

TEST_CASE("the passes over a panel together ask for each line of the next one", "[kernel]") {
  for (const auto& [kc, every] : {std::pair<Index, Index>{1024, 1},
                                  {1024, 2},
                                  {1024, 16},
                                  {255, 128},
                                  {60, 64},
                                  {544, 5},
                                  {17, 3},
                                  {1, 1}}) {
    CAPTURE(kc, every);
    // A packed panel: half lines in turns; the rows of a matrix: 16 of them, then the next 64 bytes.
    const Ahead panel{{4096, 4160}, 128, 2048}, rows{{4096, 1 << 20}, 8192, 64};
    for (const int half : {0, 1}) {
      const auto of_panel = asked(panel, every, kc, half), of_rows = asked(rows, every, kc, half);
      Index missing = 0;
      for (Index k = 0; k < kc; ++k) {
        const auto at = static_cast<std::uintptr_t>(k);
        missing += !of_panel.contains(panel.half[half] + at * 128);
        missing += !of_rows.contains(rows.half[half] + at % 16 * 8192 + at / 16 * 64);
      }
      CHECK(missing == 0);
    }
  }
}

TEST_CASE("a pass without a share asks for nothing but what is there", "[kernel]") {
  const AheadPart none{{}, 0, 0, 0}, second{{{4096, 4160}, 128, 2048}, 1, 100, 0};
  for (const AheadPart* part : {&none, &second}) {
    Requests requests(*part, part->every, 100);
    CHECK(requests.every == 100);
    for (const int half : {0, 1}) {
      CHECK(requests.next_line(half) == reinterpret_cast<std::uintptr_t>(part));
    }
  }
}

}  // namespace moe_test
