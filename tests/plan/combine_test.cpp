// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/plan/combine.hpp"

#include "moe/plan/dispatch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/plans.hpp"

namespace moe_test {
namespace {

using Weights = std::vector<double>;

moe::Plan example() { return plan_of(4, {{2, 0}, {0, 3}, {2, 0}}); }

}  // namespace

TEST_CASE("slot weights are the gate's, in the order of the plan", "[plan]") {
  const RoutingOf made(4, {{2, 0}, {0, 3}, {2, 0}});  // weights 1 2, 3 4, 5 6
  moe::Plan plan = example();
  Weights weight(6);
  gather_slot_weights<double>(made.routing, plan, weight);
  CHECK(weight == Weights{2, 3, 6, 1, 5, 4});

  Weights few(5, 9.0);
  CHECK(sentence_of([&] { gather_slot_weights<double>(made.routing, plan, few); }) ==
        "moe::gather_slot_weights: slot_weight has 5 values, the plan's slot count is 6");
  const RoutingOf other(4, {{2, 0}});
  CHECK(sentence_of([&] { gather_slot_weights<double>(other.routing, plan, weight); }) ==
        "moe::gather_slot_weights: routing.weight is [1, 2], expected [3, 2]");
}

TEST_CASE("combine sums each token's weighted rows and leaves the others zero", "[plan]") {
  const moe::Plan plan = plan_of(2, {{0, 1}, {-1, -1}, {1, 0}}, {.factor = 0.3});  // one each
  Matrix<double> rows(2, 2), y = Matrix<double>::Constant(3, 2, 9);
  rows << 1, 2, 30, 40;
  const Weights weight{10, 0.5};
  moe::combine<double>(rows, plan, weight, y);
  Matrix<double> expected(3, 2);
  expected << 25, 40, 0, 0, 0, 0;
  CHECK(same_bits(y, expected));
}

TEST_CASE("combine after dispatch with weights that sum to one gives x back", "[plan]") {
  const moe::Plan plan = example();
  const Matrix<double> x = random_matrix<double>(3, 5, 1);
  Matrix<double> rows(6, 5), y(3, 5);
  moe::dispatch<double>(x, plan, rows);
  const Weights weight{0.25, 0.5, 0.75, 0.75, 0.25, 0.5};  // tokens 0 1 2 0 2 1
  moe::combine<double>(rows, plan, weight, y);
  CHECK(distance(y, x) < 1e-15);
}

TEST_CASE("combine has the gradients of its differences", "[plan][gradient]") {
  for (const std::optional<double> factor : {std::optional<double>{}, std::optional<double>{0.6}}) {
    const moe::Plan plan =
        plan_of(4, {{2, 0}, {0, 3}, {2, 0}, {-1, -1}, {0, 1}}, {.factor = factor});
    Matrix<double> rows = random_matrix<double>(plan.count(), 3, 1);
    Matrix<double> weight = random_matrix<double>(1, plan.count(), 2);
    const std::span<double> weights(weight.data(), static_cast<std::size_t>(plan.count()));
    const Matrix<double> dy = random_matrix<double>(5, 3, 3);
    Matrix<double> y(5, 3), drows(plan.count(), 3), dweight(1, plan.count());
    const auto loss = [&] {
      moe::combine<double>(rows, plan, weights, y);
      return y.cwiseProduct(dy).sum();
    };
    moe::combine_backward<double>(dy, rows, plan, weights, drows,
                                  {dweight.data(), static_cast<std::size_t>(plan.count())});
    check_gradient("rows", rows, drows, loss);
    check_gradient("slot_weight", weight, dweight, loss);
  }
}

// A chain of additions over D waits for each of them: four times as slow as combine itself.
TEMPLATE_TEST_CASE("the gradients of slot weights are the kernel's dot products", "[plan]", float,
                   double) {
  const moe::Plan plan = example();
  for (const Index d : {1, 17, 333}) {
    const Matrix<TestType> rows = random_matrix<TestType>(6, d, 1);
    const Matrix<TestType> dy = random_matrix<TestType>(3, d, 2);
    const std::vector<TestType> weight(6, TestType(1));
    std::vector<TestType> dweight(6);
    Matrix<TestType> drows(6, d);
    moe::combine_backward<TestType>(dy, rows, plan, weight, drows, dweight);
    const auto& table = moe::detail::kernels<TestType>();
    Index wrong = 0;
    for (std::size_t s = 0; s < 6; ++s) {
      const TestType* in = dy.row(plan.token[s]).data();
      wrong += dweight[s] != table.dot(rows.row(static_cast<Index>(s)).data(), in, d);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("combine refuses shapes that do not fit its plan", "[plan][misuse]") {
  const moe::Plan plan = example();
  const Matrix<double> rows = random_matrix<double>(6, 2, 1);
  const Matrix<double> before = Matrix<double>::Constant(3, 2, 9);
  Matrix<double> y = before, short_y(2, 2);
  const Weights weight(6, 1.0), few(5, 1.0);
  CHECK(sentence_of([&] { moe::combine<double>(rows, plan, weight, short_y); }) ==
        "moe::combine: y has 2 rows, the plan's token count is 3");
  CHECK(sentence_of([&] { moe::combine<double>(rows.topRows(5), plan, weight, y); }) ==
        "moe::combine: rows is [5, 2], expected [6, 2]");
  CHECK(sentence_of([&] { moe::combine<double>(rows, plan, few, y); }) ==
        "moe::combine: slot_weight has 5 values, the plan's slot count is 6");
  CHECK(same_bits(y, before));
}

TEST_CASE("combine_backward refuses shapes that do not fit its plan", "[plan][misuse]") {
  const moe::Plan plan = example();
  const Matrix<double> rows = random_matrix<double>(6, 2, 1), dy = random_matrix<double>(3, 2, 2);
  const Matrix<double> before = Matrix<double>::Constant(6, 2, 9);
  Matrix<double> drows = before;
  Weights weight(6, 1.0), dweight(6, 7.0), few(5, 1.0);
  const auto call = [&](MatrixView<const double> dy_in, MatrixView<const double> rows_in,
                        std::span<const double> w, MatrixView<double> d, std::span<double> dw) {
    return sentence_of([&] { moe::combine_backward<double>(dy_in, rows_in, plan, w, d, dw); });
  };
  CHECK(call(dy.topRows(2), rows, weight, drows, dweight) ==
        "moe::combine_backward: dy has 2 rows, the plan's token count is 3");
  CHECK(call(dy, rows.topRows(5), weight, drows, dweight) ==
        "moe::combine_backward: rows is [5, 2], expected [6, 2]");
  CHECK(call(dy, rows, weight, drows.topRows(5), dweight) ==
        "moe::combine_backward: drows is [5, 2], expected [6, 2]");
  CHECK(call(dy, rows, few, drows, dweight) ==
        "moe::combine_backward: slot_weight has 5 values, the plan's slot count is 6");
  CHECK(call(dy, rows, weight, drows, few) ==
        "moe::combine_backward: dslot_weight has 5 values, the plan's slot count is 6");
  CHECK(same_bits(drows, before));
  CHECK(dweight == Weights(6, 7.0));
}

}  // namespace moe_test
