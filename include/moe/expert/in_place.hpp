// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Experts too cheap to gather rows for: they read x [T, D] and add to y [T, D] where those lie.
#pragma once

#include <span>

#include "moe/expert/expert.hpp"
#include "moe/kernel/kernels.hpp"

MOE_NAMESPACE_BEGIN

/// Slots of one expert, or some of them: slot i reads row token[i] of x and adds to row token[i] of
/// y, weight[i] times.
template <class S>
struct ExpertSlots {
  std::span<const std::int32_t> token;
  std::span<const S> weight;
  Index first = 0;  ///< the place of slot 0 among all slots of the expert

  Index count() const { return static_cast<Index>(token.size()); }
  Index row(Index i) const { return token[static_cast<std::size_t>(i)]; }
  S weight_of(Index i) const { return weight[static_cast<std::size_t>(i)]; }
};

/// An expert that costs no product and, among experts of other kinds (AnyOf), no row of its own.
///   add_forward    y[t] += weight * expert(x[t]), slot by slot
///   prepare        before a backward: memory in `state` for n slots now, `most` another time
///   add_backward   dx[t] += the gradient of x[t]; writes dweight, one value per slot. Threads call
///                  it at the same time for different slots
///   add_gradients  adds to the parameters' gradients; all slots at once, after add_backward
template <class X, class S>
concept InPlaceExpert = Expert<X, S> &&
    requires(const X& expert, X& trained, const ExpertSlots<S>& slots, MatrixView<const S> in,
             MatrixView<S> out, std::span<S> dweight, typename X::State& state) {
  expert.add_forward(slots, in, out);
  expert.prepare(Index(), Index(), state);
  expert.add_backward(slots, in, in, out, dweight, state);
  trained.add_gradients(slots, in, in, state);
};

namespace detail {

/// y [n] += scale * x [n], with the same bits on every instruction set.
template <class S>
void add_scaled(const S* x, S scale, S* y, Index n) {
  kernels<S>().column_sum({x, n, nullptr, &scale, 1, n, y});
}

}  // namespace detail
MOE_NAMESPACE_END
