// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The identity as an expert: rows [n, D] -> the same rows.
#pragma once

#include <algorithm>

#include "moe/core/batch.hpp"
#include "moe/expert/in_place.hpp"

MOE_NAMESPACE_BEGIN

/// y = x: a token may choose to be left as it is, and pays nothing. MoE++'s copy expert (Jin et al.
/// 2024, arXiv 2410.07348), LongCat-Flash's zero expert (arXiv 2509.01322).
template <class S>
class IdentityExpert {
 public:
  using State = NoState;

  IdentityExpert() = default;
  IdentityExpert(const Dims&, NoOptions, Random&) {}

  void forward(MatrixView<const S> in, MatrixView<S> out, State&) const {
    for (Index i = 0; i < in.rows(); ++i) std::copy_n(in.row(i), in.cols(), out.row(i));
  }
  void backward(MatrixView<const S>, MatrixView<const S> dout, MatrixView<S> din, State&) {
    for (Index i = 0; i < dout.rows(); ++i) std::copy_n(dout.row(i), dout.cols(), din.row(i));
  }

  void add_forward(const ExpertSlots<S>& slots, MatrixView<const S> x, MatrixView<S> y) const {
    for (Index i = 0; i < slots.count(); ++i) {
      const Index t = slots.row(i);
      detail::add_scaled(x.row(t), slots.weight_of(i), y.row(t), x.cols());
    }
  }
  void prepare(Index, Index, State&) const {}
  void add_backward(const ExpertSlots<S>& slots, MatrixView<const S> x, MatrixView<const S> dy,
                    MatrixView<S> dx, std::span<S> dweight, State&) const {
    const auto dot = detail::kernels<S>().dot;
    for (Index i = 0; i < slots.count(); ++i) {
      const Index t = slots.row(i);
      dweight[static_cast<std::size_t>(i)] = dot(x.row(t), dy.row(t), x.cols());
      detail::add_scaled(dy.row(t), slots.weight_of(i), dx.row(t), x.cols());
    }
  }
  void add_gradients(const ExpertSlots<S>&, MatrixView<const S>, MatrixView<const S>, State&) {}

  template <class F>
  void visit_parameters(F&&) {}
};

MOE_NAMESPACE_END
