// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What an expert is: rows [n, D] -> rows [n, D].
#pragma once

#include "moe/core/executor.hpp"
#include "moe/core/parameter.hpp"
#include "moe/kernel/problem.hpp"

MOE_NAMESPACE_BEGIN

/// One expert. `State` is memory of one call, kept in the workspace or tape (NoState when nothing
/// is needed); each expert of a layer has its own.
///   forward:  writes out [n, D] from in [n, D]; rows do not depend on one another
///   backward: writes din [n, D] and adds to the parameters' gradients, given dout and the
///   forward's
///             in and state
template <class X, class S>
concept Expert = requires(const X& expert, X& trained, MatrixView<const S> in, MatrixView<S> out,
                          typename X::State& state) {
  expert.forward(in, out, state);
  trained.backward(in, in, out, state);
}
&&HasParameters<X, S>;

/// An expert whose weights the grouped kernels read directly: all experts of a layer in one
/// product.
template <class X, class S>
concept GroupedExpert = Expert<X, S> && requires(const X& expert, X& trained) {
  { expert.shape() } -> std::same_as<FfnShape>;
  expert.check_shapes(std::string_view(), expert.shape());
  { expert.pointers() } -> std::same_as<FfnPointers<const S>>;
  { trained.gradient_pointers() } -> std::same_as<FfnPointers<S>>;
};

MOE_NAMESPACE_END
