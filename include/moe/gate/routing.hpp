// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a gate decides: logits [T, E] -> Routing{expert [T, K], weight [T, K], scores [T, E]}.
#pragma once

#include <string_view>
#include <utility>

#include "moe/core/batch.hpp"
#include "moe/core/buffer.hpp"
#include "moe/core/error.hpp"

MOE_NAMESPACE_BEGIN

/// Marks a place of Routing::expert that holds no choice.
inline constexpr std::int32_t kNoExpert = -1;

/// Who is chosen, with what weight. A gate writes every value of it.
template <class S>
struct Routing {
  MatrixView<std::int32_t> expert;  ///< [T, K], distinct experts of a token, or kNoExpert
  MatrixView<S> weight;             ///< [T, K], 0 where there is no expert
  MatrixView<S> scores;             ///< [T, E], the gate's probabilities; what balance losses see

  Index tokens() const { return expert.rows(); }
  Index top_k() const { return expert.cols(); }
  Index num_experts() const { return scores.cols(); }

  Routing() = default;
  Routing(Routing&& other) noexcept { *this = std::move(other); }
  /// Leaves `other` empty, its views too.
  Routing& operator=(Routing&& other) noexcept {
    expert = std::exchange(other.expert, {});
    weight = std::exchange(other.weight, {});
    scores = std::exchange(other.scores, {});
    expert_buffer_ = std::move(other.expert_buffer_);
    weight_buffer_ = std::move(other.weight_buffer_);
    scores_buffer_ = std::move(other.scores_buffer_);
    return *this;
  }

  void resize(Index t, Index k, Index e) {
    expert = expert_buffer_.resize(t, k);
    weight = weight_buffer_.resize(t, k);
    scores = scores_buffer_.resize(t, e);
  }

  /// Forgets the choices of padding tokens, so that no later stage sees them.
  void clear_padding(const Batch& batch) {
    for (Index t = 0; t < tokens(); ++t) {
      if (!batch.is_padding(t)) continue;
      std::fill_n(expert.row(t), top_k(), kNoExpert);
      std::fill_n(weight.row(t), top_k(), S(0));
      std::fill_n(scores.row(t), num_experts(), S(0));
    }
  }

 private:
  Buffer<std::int32_t> expert_buffer_;
  Buffer<S> weight_buffer_;
  Buffer<S> scores_buffer_;
};

namespace detail {

/// What every gate's forward asks first, before it writes: logits [T, E], routing shaped [T, K] and
/// [T, E], a mask of T. Throws std::invalid_argument.
template <class G, class S>
void check_gate_forward(std::string_view function, const G& gate, MatrixView<const S> logits,
                        const Routing<S>& routing, const Batch& batch) {
  const Index t = logits.rows(), e = logits.cols(), k = gate.top_k();
  if constexpr (requires { gate.num_experts(); }) {
    check_size(function, "logits", e, "columns", "the gate's num_experts", gate.num_experts());
  }
  if (k < 1 || k > e) {
    fail(function, "the gate's top_k is ", k, ", expected 1 to the ", e, " columns of logits");
  }
  check_shape(function, "routing.expert", routing.expert, t, k);
  check_shape(function, "routing.weight", routing.weight, t, k);
  check_shape(function, "routing.scores", routing.scores, t, e);
  if (!batch.mask.empty()) {
    check_size(function, "mask", std::ssize(batch.mask), "values", "the number of tokens", t);
  }
}

/// And its backward: every gradient has the shape of what it is the gradient of.
template <class S>
void check_gate_backward(std::string_view function, const Routing<S>& routing,
                         MatrixView<const S> dweight, MatrixView<const S> dscores,
                         MatrixView<S> dlogits) {
  check_shape(function, "dweight", dweight, routing.tokens(), routing.top_k());
  check_shape(function, "dscores", dscores, routing.tokens(), routing.num_experts());
  check_shape(function, "dlogits", dlogits, routing.tokens(), routing.num_experts());
}

/// The state must have the size that the routing's forward gave it.
inline void check_gate_state(std::string_view function, Index size, Index expected) {
  check_size(function, "the state", size, "values", "their number after the routing's forward",
             expected);
}

}  // namespace detail

/// A policy that chooses experts. One that is made for a number of experts says so by
/// num_experts(), and is then refused by a layer of another number. `State` is memory of one call
/// (NoState when nothing is needed).
///   forward:  fills routing, already shaped [T, K] and [T, E]
///   backward: adds to dlogits [T, E], given dweight [T, K] and dscores [T, E], the gradients of
///             routing.weight and routing.scores; routing is the forward's. A gate that learns
///             also has visit_parameters and adds to its own gradients
template <class G, class S>
concept Gate = requires(const G& gate, G& trained, MatrixView<const S> in, MatrixView<S> out,
                        Routing<S>& routing, const Routing<S>& decided, const Batch& batch,
                        typename G::State& state) {
  { gate.top_k() } -> std::convertible_to<Index>;
  gate.forward(in, routing, batch, state);
  trained.backward(decided, in, in, out, state);
};

MOE_NAMESPACE_END
