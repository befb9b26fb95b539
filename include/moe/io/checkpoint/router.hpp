// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The router of a loaded layer: x [T, D] -> logits [T, E]; of the first layers of DeepSeek-V4 one whose
// experts follow from the token's id.
#pragma once

#include <utility>
#include <variant>
#include <vector>

#include "moe/router/hash.hpp"
#include "moe/router/packed_linear.hpp"

MOE_NAMESPACE_BEGIN

/// A LinearRouter, packed, or a HashRouter around one, for inference.
class CheckpointRouter {
 public:
  using Linear = LinearRouter<float>;
  using Hash = HashRouter<Linear>;
  using Packed = PackedLinearRouter<float>;
  using State = Hash::State;  ///< a Packed::State, too

  CheckpointRouter() = default;
  CheckpointRouter(const Linear& linear)  // NOLINT(google-explicit-constructor)
      : router_(Packed(linear)) {}

  /// `table` [V, K]: the experts of every token id; the linear router weighs them. Throws
  /// std::invalid_argument as HashRouter does.
  CheckpointRouter(Linear linear, Index top_k, std::vector<std::int32_t> table) {
    Random random;
    const Index vocabulary = top_k > 0 ? std::ssize(table) / top_k : 0;
    Hash hash({.model_dim = 1, .num_experts = linear.num_experts(), .top_k = top_k},
              {.vocabulary = vocabulary, .table = std::move(table)}, random);
    hash.base = std::move(linear);
    router_ = std::move(hash);
  }

  Index model_dim() const {
    return std::visit([](const auto& r) { return r.model_dim(); }, router_);
  }
  Index num_experts() const {
    return std::visit([](const auto& r) { return r.num_experts(); }, router_);
  }
  /// nullptr when tokens are not chosen by their ids; a call needs Batch::token_ids otherwise.
  const Hash* as_hash() const { return std::get_if<Hash>(&router_); }

  void check_shapes(std::string_view function) const {
    if (const Hash* hash = as_hash()) hash->check_shapes(function);
  }

  void forward(MatrixView<const float> x, MatrixView<float> logits, const Batch& batch,
               State& state, ExecutorRef executor) const {
    std::visit([&](const auto& r) { r.forward(x, logits, batch, state, executor); }, router_);
  }

 private:
  std::variant<Packed, Hash> router_;
};

MOE_NAMESPACE_END
