// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The expert that returns zeros: rows [n, D] -> 0.
#pragma once

#include <algorithm>

#include "moe/core/batch.hpp"
#include "moe/expert/in_place.hpp"

MOE_NAMESPACE_BEGIN

/// y = 0: a token may choose to be dropped, or to use fewer experts. MoE++'s zero expert (Jin et al.
/// 2024, arXiv 2410.07348). It reads no row; the gradient of its weight is 0. A weight that is not
/// finite still makes its token NaN, as with every other expert.
template <class S>
class ZeroExpert {
 public:
  using State = NoState;

  ZeroExpert() = default;
  ZeroExpert(const Dims&, NoOptions, Random&) {}

  void forward(MatrixView<const S>, MatrixView<S> out, State&) const { clear(out); }
  void backward(MatrixView<const S>, MatrixView<const S>, MatrixView<S> din, State&) { clear(din); }

  void add_forward(const ExpertSlots<S>& slots, MatrixView<const S>, MatrixView<S> y) const {
    for (Index i = 0; i < slots.count(); ++i) {
      const S nothing = slots.weight_of(i) * S(0);
      if (nothing == S(0)) continue;
      for (Index d = 0; d < y.cols(); ++d) y(slots.row(i), d) += nothing;
    }
  }
  void prepare(Index, Index, State&) const {}
  void add_backward(const ExpertSlots<S>&, MatrixView<const S>, MatrixView<const S>, MatrixView<S>,
                    std::span<S> dweight, State&) const {
    std::fill(dweight.begin(), dweight.end(), S(0));
  }
  void add_gradients(const ExpertSlots<S>&, MatrixView<const S>, MatrixView<const S>, State&) {}

  template <class F>
  void visit_parameters(F&&) {}

 private:
  static void clear(MatrixView<S> m) {
    for (Index i = 0; i < m.rows(); ++i) std::fill_n(m.row(i), m.cols(), S(0));
  }
};

MOE_NAMESPACE_END
