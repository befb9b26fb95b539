// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/core/error.hpp"

#include "support/catch.hpp"
#include "support/compare.hpp"

namespace moe_test {
namespace {

bool overlap(MatrixView<double> a, MatrixView<double> b) {
  const bool result = moe::detail::overlap(a, b);
  CHECK(result == moe::detail::overlap(b, a));
  return result;
}

}  // namespace

TEST_CASE("a failure names its function and joins its parts", "[core]") {
  CHECK(sentence_of([] { moe::detail::fail("f", "x is ", 3, ", ", true, " ", 0.5); }) ==
        "f: x is 3, true 0.500000");
  CHECK(sentence_of([] { moe::detail::check_size("f", "x", 3, "columns", "model_dim", 4); }) ==
        "f: x has 3 columns, model_dim is 4");
  CHECK(sentence_of([] { moe::detail::check_positive("f", "n", -1); }) ==
        "f: n is -1, expected at least 1");
  CHECK_NOTHROW(moe::detail::check_positive("f", "n", 1));
}

TEST_CASE("separate matrices do not overlap, a matrix overlaps itself and its parts", "[core]") {
  Matrix<double> a(6, 8), b(6, 8);
  CHECK_FALSE(overlap(a, b));
  CHECK(overlap(a, a));
  CHECK(overlap(a, a.block(2, 3, 2, 2)));
  CHECK(overlap(a.topRows(4), a.bottomRows(3)));
  CHECK_FALSE(overlap(a.topRows(3), a.bottomRows(3)));
}

TEST_CASE("column blocks of one matrix overlap only where they share columns", "[core]") {
  Matrix<double> a(6, 8);
  CHECK_FALSE(overlap(a.leftCols(4), a.rightCols(4)));
  CHECK_FALSE(overlap(a.leftCols(1), a.rightCols(7)));
  CHECK_FALSE(overlap(a.middleCols(2, 3), a.middleCols(5, 3)));
  CHECK(overlap(a.leftCols(5), a.rightCols(4)));
  CHECK(overlap(a.middleCols(2, 3), a.middleCols(4, 3)));
  CHECK_FALSE(overlap(a.block(0, 4, 5, 4), a.block(1, 0, 5, 4)));
  CHECK_FALSE(overlap(a.block(1, 4, 5, 4), a.block(0, 0, 5, 4)));
  CHECK(overlap(a.block(0, 3, 5, 4), a.block(1, 0, 5, 4)));
  CHECK_FALSE(overlap(a.block(2, 0, 1, 8), a.block(3, 0, 1, 8)));
  CHECK(overlap(a.block(2, 0, 1, 5), a.block(2, 4, 1, 4)));
}

TEST_CASE("overlap agrees with comparing every address", "[core]") {
  Matrix<double> a(5, 7);
  Index wrong = 0;
  const auto block = [&](Index n) {
    return a.block(n % 3, n / 3 % 5, 1 + n / 15 % 3, 1 + n / 45 % 3);
  };
  for (Index m = 0; m < 135; ++m) {
    for (Index n = 0; n < 135; ++n) {
      bool shared = false;
      const MatrixView<double> p = block(m), q = block(n);
      for (Index i = 0; i < p.size(); ++i) {
        for (Index j = 0; j < q.size(); ++j) {
          shared |= &p(i / p.cols(), i % p.cols()) == &q(j / q.cols(), j % q.cols());
        }
      }
      wrong += shared != moe::detail::overlap(p, q);
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("empty matrices overlap nothing", "[core]") {
  Matrix<double> a(4, 4);
  CHECK_FALSE(overlap(a.topRows(0), a));
  CHECK_FALSE(overlap(MatrixView<double>(), a));
}

TEST_CASE("one row read many times overlaps what shares it", "[core]") {
  Matrix<double> a(3, 4);
  const MatrixView<double> repeated(a.data(), 5, 4, 0);
  CHECK(overlap(repeated, a));
  CHECK_FALSE(overlap(repeated, a.bottomRows(2)));
}

}  // namespace moe_test
