// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a layer is: x [T, D] -> y [T, D], with the memory of a call kept by the caller.
#pragma once

#include <concepts>

#include "moe/core/executor.hpp"
#include "moe/core/parameter.hpp"
#include "moe/loss/loss.hpp"

MOE_NAMESPACE_BEGIN

/// A layer of any shape: sparse, dense, soft, hierarchical, or built around one of them. A const
/// layer serves many threads, each call with a Workspace or Tape of its own; both are made from an
/// ExecutorRef, which may be exchanged between calls.
///   forward(.., workspace, batch)  writes y; rows of padding become zero; T = 0 is fine
///   forward(.., tape, batch)       the same, remembering what backward needs; copies of x and of
///                                  what it needs of `batch` go to the tape
///   backward(dy, dx, tape)         writes dx, adds to the gradients of trainable parameters,
///                                  consumes the tape
///   visit_parameters(f)            f(std::string_view name, Parameter<S>&), in a fixed order
/// Shapes that do not fit, memory that x and y share and a tape of another layer throw
/// std::invalid_argument before anything is written. So that this also holds for layers around it, a
/// layer should have check_backward(tape) const, which throws what backward would; without, a backward
/// that throws inside may leave the layers around it with half of their gradients added. Expert types
/// are asked in the same way, as check_backward(state) const.
template <class L, class S>
concept Layer = requires(const L& layer, L& trained, MatrixView<const S> in, MatrixView<S> out,
                         typename L::Workspace& workspace, typename L::Tape& tape,
                         const Batch& batch, ExecutorRef threads) {
  { layer.model_dim() } -> std::convertible_to<Index>;
  layer.forward(in, out, workspace);
  layer.forward(in, out, workspace, batch);
  layer.forward(in, out, tape);
  layer.forward(in, out, tape, batch);
  trained.backward(in, out, tape);
  workspace.executor = threads;
  tape.executor = threads;
}
&&HasParameters<L, S>&& std::constructible_from<typename L::Workspace, ExecutorRef>&&
    std::constructible_from<typename L::Tape, ExecutorRef>;

namespace detail {

/// The check_backward of a layer or an expert inside, if it has one.
template <class Part, class Memory>
void check_part_backward(const Part& part, const Memory& memory) {
  if constexpr (requires { part.check_backward(memory); }) part.check_backward(memory);
}

/// A loss that any tape with a router takes.
struct AnyLoss {
  template <class S>
  double operator()(const LossInput<S>&, LossGradient<S>&) const {
    return 0;
  }
};

}  // namespace detail

/// A layer whose tape takes balance losses between forward and backward: it has a router.
template <class L, class S>
concept RoutedLayer = Layer<L, S> && requires(typename L::Tape& tape) {
  { tape.add_loss(detail::AnyLoss{}) } -> std::convertible_to<double>;
};

/// The sentence for whoever takes a layer as a part: static_assert(moe::require_layer<L, S>()).
template <class L, class S>
constexpr bool require_layer() {
  static_assert(
      Layer<L, S>,
      "moe: a layer needs Workspace and Tape (each made from an ExecutorRef, with a member "
      "executor), model_dim(), forward(x, y, workspace, batch) const, forward(x, y, tape, batch) "
      "const, backward(dy, dx, tape) and visit_parameters(f); see moe/layer/layer.hpp");
  return Layer<L, S>;
}

MOE_NAMESPACE_END
