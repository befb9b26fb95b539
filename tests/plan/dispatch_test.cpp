// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/plan/dispatch.hpp"

#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/plans.hpp"

namespace moe_test {

TEMPLATE_TEST_CASE("dispatch puts each expert's tokens side by side", "[plan]", float, double) {
  const moe::Plan plan = plan_of(4, {{2, 0}, {0, 3}, {2, 0}});
  const Matrix<TestType> x = random_matrix<TestType>(3, 5, 1);
  Framed<TestType> rows(6, 5, 2);
  moe::dispatch<TestType>(x, plan, rows.view());
  const int tokens[] = {0, 1, 2, 0, 2, 1};
  for (Index s = 0; s < 6; ++s) CHECK(same_bits(rows.inner().row(s), x.row(tokens[s])));
  CHECK(rows.frame_is_whole());
}

TEST_CASE("dispatch has the gradient of its differences", "[plan][gradient]") {
  const moe::Plan plan = plan_of(4, {{2, 0}, {0, 3}, {2, 0}, {-1, -1}}, {.factor = 0.9});
  Matrix<double> x = random_matrix<double>(4, 3, 1), rows(plan.count(), 3);
  const Matrix<double> drows = random_matrix<double>(plan.count(), 3, 2);
  const Matrix<double> start = random_matrix<double>(4, 3, 3);
  Matrix<double> dx = start;
  moe::dispatch_backward<double>(drows, plan, dx);
  check_gradient("x", x, Matrix<double>(dx - start), [&] {
    moe::dispatch<double>(x, plan, rows);
    return rows.cwiseProduct(drows).sum();
  });
  CHECK(same_bits(dx.row(3), start.row(3)));
}

TEST_CASE("dispatch works without tokens", "[plan]") {
  const moe::Plan plan = plan_of(3, {});
  Matrix<double> x(0, 5), rows(0, 5);
  CHECK_NOTHROW(moe::dispatch<double>(x, plan, rows));
  CHECK_NOTHROW(moe::dispatch_backward<double>(rows, plan, x));
}

TEST_CASE("dispatch refuses shapes that do not fit its plan", "[plan][misuse]") {
  const moe::Plan plan = plan_of(4, {{2, 0}, {0, 3}, {2, 0}});
  Matrix<double> x = Matrix<double>::Ones(3, 2), rows = Matrix<double>::Constant(6, 2, 9);
  const Matrix<double> x_before = x, rows_before = rows;
  CHECK(sentence_of([&] { moe::dispatch<double>(x.topRows(2), plan, rows); }) ==
        "moe::dispatch: x has 2 rows, the plan's token count is 3");
  CHECK(sentence_of([&] { moe::dispatch<double>(x, plan, rows.topRows(5)); }) ==
        "moe::dispatch: rows is [5, 2], expected [6, 2]");
  CHECK(sentence_of([&] { moe::dispatch_backward<double>(rows, plan, x.topRows(2)); }) ==
        "moe::dispatch_backward: dx has 2 rows, the plan's token count is 3");
  CHECK(sentence_of([&] { moe::dispatch_backward<double>(rows.topRows(5), plan, x); }) ==
        "moe::dispatch_backward: drows is [5, 2], expected [6, 2]");
  CHECK(same_bits(rows, rows_before));
  CHECK(same_bits(x, x_before));
}

}  // namespace moe_test
