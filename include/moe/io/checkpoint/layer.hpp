// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer read from a checkpoint, for inference: x [T, D] -> y [T, D]. One type for all families.
#pragma once

#include <utility>
#include <vector>

#include "moe/io/checkpoint/gate.hpp"
#include "moe/io/checkpoint/router.hpp"
#include "moe/layer/route.hpp"
#include "moe/layer/shared_rows.hpp"

MOE_NAMESPACE_BEGIN

/// Router, gate and packed experts, and what families add to them:
///   y = sum over the chosen experts of weight * expert(x), zero experts returning x
///       + s * shared(x), s = 1 or sigmoid(x g^T)
///       + bias
/// Const, and serves many threads, each with its own workspace. y has the same bits whatever the
/// number of threads and the batch a token arrives in.
class CheckpointLayer {
 public:
  struct Parts {
    CheckpointRouter router;   ///< [E + zero experts, D]
    CheckpointGate gate;       ///< of as many
    PackedFfn<float> experts;  ///< [E]
    Index zero_experts = 0;
    PackedFfn<float> shared;       ///< one expert, or none
    RowVector<float> shared_gate;  ///< [D] or empty
    RowVector<float> output_bias;  ///< [D] or empty
    CapacityOptions capacity{};
  };

  /// Every intermediate of a forward. Reuse it: from the second call on, at the same or a smaller T,
  /// nothing is allocated. One workspace serves one call at a time.
  struct Workspace : RouteState<float, CheckpointRouter, CheckpointGate> {
    using RouteState<float, CheckpointRouter, CheckpointGate>::RouteState;
    GroupState<PackedFfn<float>, float> experts;
    SharedRows<float> shared_rows;
    GroupState<PackedFfn<float>, float> shared;
  };

  /// Throws std::invalid_argument when the parts do not fit one another.
  explicit CheckpointLayer(Parts parts) : p_(std::move(parts)) {
    constexpr auto* kWhere = "moe::CheckpointLayer";
    detail::check_routing_parts(kWhere, p_.router, p_.gate, num_experts() + p_.zero_experts,
                                p_.capacity);
    const Index d = p_.router.model_dim();
    detail::check_size(kWhere, "the experts' input", p_.experts.shape().model_dim, "columns",
                       "the router's model_dim", d);
    if (has_shared()) {
      detail::check_size(kWhere, "the shared expert's input", p_.shared.shape().model_dim,
                         "columns", "the router's model_dim", d);
    }
    for (const auto* row : {&p_.shared_gate, &p_.output_bias}) {
      if (row->size() > 0) {
        detail::check_size(kWhere, "the shared gate or the bias", row->size(), "values",
                           "the router's model_dim", d);
      }
    }
    if (p_.zero_experts > 0 && p_.gate.weight_on_input()) {
      detail::fail(kWhere, "zero experts take no weight on their input");
    }
  }

  Index model_dim() const { return p_.router.model_dim(); }
  Index hidden_dim() const { return p_.experts.shape().hidden_dim; }
  /// Those with weights.
  Index num_experts() const { return p_.experts.num_experts(); }
  Index zero_experts() const { return p_.zero_experts; }
  Index top_k() const { return p_.gate.top_k(); }
  bool has_shared() const { return p_.shared.num_experts() > 0; }
  const CheckpointRouter& router() const { return p_.router; }
  const CheckpointGate& gate() const { return p_.gate; }
  const FfnShape& shape() const { return p_.experts.shape(); }

  /// Bytes of the packed weights, the shared expert's included.
  std::size_t bytes() const { return p_.experts.bytes() + p_.shared.bytes(); }

  /// x, y: [T, D], row-major, separate; rows of padding become zero. Throws std::invalid_argument on
  /// shapes that do not fit, a mask that is not [T] long, or x and y sharing memory; y is then
  /// untouched.
  void forward(MatrixView<const float> x, MatrixView<float> y, Workspace& ws,
               const Batch& batch = {}) const {
    detail::check_forward<float>("moe::CheckpointLayer::forward", model_dim(), x, y, batch);
    route<float>(p_.router, p_.gate, p_.capacity, x, batch, ws);
    if (p_.zero_experts == 0) {
      experts_forward<float>(p_.experts, ws.plan, ws.slot_weight.span(), weight_on(p_.gate), x, y,
                             ws.experts, ws.executor);
    } else {
      forward_with_zero_experts(x, y, ws);
    }
    if (has_shared()) {
      ws.shared_rows.fill(x, p_.shared_gate.size() > 0 ? p_.shared_gate.data() : nullptr, batch);
      group_forward(p_.shared, ws.shared_rows.groups(), x, y, ws.shared, /*keep=*/false,
                    ws.executor, /*accumulate=*/true);
    }
    if (p_.output_bias.size() > 0) {
      for (Index t = 0; t < y.rows(); ++t) {
        if (!batch.is_padding(t)) y.middle_rows(t, 1).eigen() += p_.output_bias;
      }
    }
  }

 private:
  /// The slots of experts with weights come first in the plan, those of zero experts after them.
  void forward_with_zero_experts(MatrixView<const float> x, MatrixView<float> y,
                                 Workspace& ws) const {
    const auto e = static_cast<std::size_t>(num_experts());
    const std::span<const std::int32_t> offset(ws.plan.offset), token(ws.plan.token);
    const auto slots = static_cast<std::size_t>(offset[e]);
    const std::span<const float> weight = ws.slot_weight.span();
    ffn_forward<float>(
        p_.experts,
        {offset.first(e + 1), token.first(slots), weight.first(slots), detail::most_slots(ws.plan)},
        x, y, ws.experts.scratch, ws.executor);
    for (std::size_t s = slots; s < token.size(); ++s) {
      y.middle_rows(token[s], 1).eigen() += weight[s] * x.middle_rows(token[s], 1).eigen();
    }
  }

  Parts p_;
};

MOE_NAMESPACE_END
