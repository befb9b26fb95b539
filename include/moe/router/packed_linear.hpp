// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Linear router for inference, its weight packed for the kernels: logits [T, E] = x [T, D] W^T + b.
#pragma once

#include "moe/router/linear.hpp"

MOE_NAMESPACE_BEGIN

/// What `pack` makes of a LinearRouter: the same logits, bit for bit. For one token it reads the weight
/// once from front to back, in a third of the time; the weight keeps its type.
template <class S>
class PackedLinearRouter {
 public:
  using Scalar = S;
  using State = typename LinearRouter<S>::State;

  PackedLinearRouter() = default;

  /// Throws std::invalid_argument unless the router's parameters fit one another.
  PackedLinearRouter(const LinearRouter<S>& router,  // NOLINT(google-explicit-constructor)
                     ExecutorRef executor = {})
      : weight_(MatrixView<const S>(router.weight.value), WeightType::native, executor) {
    router.check_shapes("moe::PackedLinearRouter");
    if (!router.bias.empty()) bias_ = router.bias.value.row(0);
  }

  Index model_dim() const { return weight_.inputs(); }
  Index num_experts() const { return weight_.outputs(); }
  std::size_t bytes() const { return weight_.bytes(); }

  void forward(MatrixView<const S> x, MatrixView<S> logits, const Batch& batch, State& state,
               ExecutorRef executor) const {
    detail::check_router_forward("moe::PackedLinearRouter::forward", *this, x, logits, batch);
    linear_forward<S>(x, weight_, bias_.size() == 0 ? nullptr : bias_.data(), logits, state.scratch,
                      executor);
  }

 private:
  PackedLinear<S> weight_;  ///< [E, D]
  RowVector<S> bias_;       ///< [E], or empty
};

namespace detail {

/// The router of a packed layer: a linear one packed, its adapter (LoraRouter) merged, any other as it
/// is.
template <class R>
R pack_router(const R& router, ExecutorRef) {
  return router;
}
template <class S>
PackedLinearRouter<S> pack_router(const LinearRouter<S>& router, ExecutorRef executor) {
  return {router, executor};
}
template <class R>
requires requires(const R& router) { router.merged_router(); }
auto pack_router(const R& router, ExecutorRef executor) {
  router.check_shapes("moe::pack");
  return pack_router(router.merged_router(), executor);
}

template <class R>
using packed_router = decltype(pack_router(std::declval<const R&>(), ExecutorRef()));

}  // namespace detail
MOE_NAMESPACE_END
