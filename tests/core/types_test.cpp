// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/core/types.hpp"

#include "support/catch.hpp"

namespace moe_test {
namespace {

using moe::MatrixView;

MatrixView<const float> seen(MatrixView<const float> view) { return view; }

}  // namespace

TEST_CASE("a view binds to matrices, blocks, maps and refs without a copy", "[core]") {
  moe::Matrix<float> m(4, 6);
  for (moe::Index i = 0; i < 24; ++i) m.data()[i] = static_cast<float>(i);
  CHECK(seen(m).data() == m.data());
  CHECK(seen(m).stride() == 6);

  const auto block = seen(m.block(1, 2, 3, 3));
  CHECK(block.data() == &m(1, 2));
  CHECK(block.stride() == 6);
  CHECK(block.rows() == 3);
  CHECK(block(2, 1) == m(3, 3));

  const auto row = seen(m.row(2));
  CHECK(row.rows() == 1);
  CHECK(row.cols() == 6);
  CHECK(row(0, 3) == m(2, 3));

  const Eigen::Map<const moe::Matrix<float>, 0, Eigen::OuterStride<>> map(m.data() + 1, 3, 2,
                                                                          Eigen::OuterStride<>(7));
  CHECK(seen(map)(2, 1) == m.data()[1 + 2 * 7 + 1]);

  const Eigen::Ref<const moe::Matrix<float>> ref(m);
  CHECK(seen(ref).data() == m.data());

  moe::Matrix<float> column(5, 1);
  column << 0, 1, 2, 3, 4;
  CHECK(seen(column)(4, 0) == 4);
  const Eigen::VectorXf vector = Eigen::VectorXf::LinSpaced(5, 0, 4);  // one column: either order
  CHECK(seen(vector).rows() == 5);
  CHECK(seen(vector)(4, 0) == 4);
}

TEST_CASE("a view writes through, and its rows and Eigen expression are the same memory",
          "[core]") {
  moe::Matrix<float> m = moe::Matrix<float>::Zero(4, 6);
  const MatrixView<float> view = m.block(1, 1, 3, 2);
  view(2, 1) = 5;
  CHECK(m(3, 2) == 5);
  view.eigen().row(0).setConstant(7);
  CHECK(m(1, 2) == 7);
  CHECK(view.row(2)[1] == 5);
  CHECK(view.middle_rows(1, 2).data() == &m(2, 1));
  CHECK(view.middle_rows(1, 2)(1, 1) == 5);
  CHECK(view.size() == 6);
  CHECK(MatrixView<float>().empty());
}

}  // namespace moe_test
