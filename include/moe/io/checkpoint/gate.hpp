// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The gate of a loaded layer, chosen when the checkpoint is read: logits [T, E] -> Routing.
#pragma once

#include <variant>

#include "moe/gate/sparse_mixer.hpp"
#include "moe/gate/top_k.hpp"

MOE_NAMESPACE_BEGIN

/// A TopKGate or a SparseMixerGate, for inference.
class CheckpointGate {
 public:
  using Options = std::variant<TopKGate::Options, SparseMixerGate::Options>;
  struct State {
    TopKGate::State top_k;
    SparseMixerGate::State sparse_mixer;
  };

  CheckpointGate() = default;

  /// Throws std::invalid_argument as the gate of these options does.
  CheckpointGate(const Dims& dims, Options options) : num_experts_(dims.num_experts) {
    if (auto* top_k = std::get_if<TopKGate::Options>(&options)) {
      gate_ = TopKGate(dims, std::move(*top_k));
    } else {
      gate_ = SparseMixerGate(dims, std::get<SparseMixerGate::Options>(options));
    }
  }

  Index top_k() const {
    return std::visit([](const auto& gate) { return gate.top_k(); }, gate_);
  }
  Index num_experts() const { return num_experts_; }
  bool weight_on_input() const {
    const auto* gate = std::get_if<TopKGate>(&gate_);
    return gate != nullptr && gate->weight_on_input();
  }

  /// nullptr when it is a SparseMixerGate.
  const TopKGate* as_top_k() const { return std::get_if<TopKGate>(&gate_); }
  /// nullptr when it is a TopKGate.
  const SparseMixerGate* as_sparse_mixer() const { return std::get_if<SparseMixerGate>(&gate_); }

  void forward(MatrixView<const float> logits, Routing<float>& routing, const Batch& batch,
               State& state) const {
    if (const auto* gate = as_top_k()) return gate->forward(logits, routing, batch, state.top_k);
    as_sparse_mixer()->forward(logits, routing, batch, state.sparse_mixer);
  }

 private:
  Index num_experts_ = 0;
  std::variant<TopKGate, SparseMixerGate> gate_;
};

MOE_NAMESPACE_END
