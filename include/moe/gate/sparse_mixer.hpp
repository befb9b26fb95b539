// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// SparseMixer gate: experts drawn one after the other, with an estimate of the gradient through the
// draw.
#pragma once

#include "moe/core/draws.hpp"
#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// For each of the K places, over the logits l of the experts not chosen yet, with m the largest:
///   left out: (m - l_e) / max(|l_e|, m) > 2 jitter;  g = softmax over the others
///   e: training: drawn from g;  evaluation: the largest
///   weight: g_e, in training times 1 if e is the largest or a coin of 1/4 says so, else 1/3
/// Each place has its own softmax: the weights of a token do not sum to 1. The gradient of a weight
/// is that of g_e without the factor: Heun's third-order estimate (Liu et al. 2023, "Sparse
/// Backpropagation for MoE Training"; Phi-3.5-MoE, whose constants 0.3333 and 0.6667 are kept).
/// Routing::scores is the softmax over all experts.
class SparseMixerGate {
 public:
  struct Options {
    double jitter =
        0.01;  ///< experts within about 2 jitter of the best, relatively, are candidates

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("jitter", jitter);
    }
  };
  struct State {
    Buffer<double> g;  ///< [T * K, E], the softmax of each place
  };

  SparseMixerGate() = default;

  /// Throws std::invalid_argument unless 1 <= K <= E and jitter is finite and not negative.
  SparseMixerGate(const Dims& dims, const Options& options)
      : top_k_(dims.top_k), options_(options) {
    detail::check_top_k(kWhere, dims);
    detail::check_at_least_zero(kWhere, "jitter", options.jitter);
  }

  Index top_k() const { return top_k_; }
  const Options& options() const { return options_; }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch,
               State& state) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    const Index n = logits.cols();
    const Draws draws(batch, "gate.sparse_mixer");
    const MatrixView<double> g = state.g.resize(logits.rows() * top_k_, n);
    for (Index t = 0; t < logits.rows(); ++t) {
      softmax_row(logits.row(t), n, S(1), routing.scores.row(t));
      choose_nobody(routing, t);
      for (Index j = 0; j < top_k_; ++j) {
        double* g_j = g.row(t * top_k_ + j);
        const std::int32_t best = candidates(logits.row(t), n, routing.expert.row(t), j, g_j);
        const std::int32_t e = batch.training ? draw(g_j, n, best, draws, t, j) : best;
        softmax_row(g_j, n, 1.0, g_j);
        double factor = 1;
        if (batch.training) {
          const bool one = e == best || draws.uniform(t, top_k_ * n + j) > 0.75;
          factor = one ? 0.3333 + 0.6667 : 0.3333;
        }
        routing.expert(t, j) = e;
        routing.weight(t, j) = static_cast<S>(g_j[e] * factor);
      }
    }
  }

  /// As published: dl_i += dw g_e ([i = e] - g_i) for each place.
  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State& state) const {
    const Index n = routing.num_experts();
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    detail::check_gate_state(kWhere, state.g.size(), routing.tokens() * top_k_ * n);
    const MatrixView<double> g(state.g.data(), routing.tokens() * top_k_, n);
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (routing.expert(t, 0) == kNoExpert) continue;  // padding
      softmax_row_backward(routing.scores.row(t), n, 1.0, dscores.row(t), routing.expert.row(t),
                           dweight.row(t), Index{0}, dlogits.row(t));
      for (Index j = 0; j < top_k_; ++j) {
        const double* g_j = g.row(t * top_k_ + j);
        const std::int32_t e = routing.expert(t, j);
        const double weight_gradient = static_cast<double>(dweight(t, j)) * g_j[e];
        for (Index i = 0; i < n; ++i) dlogits(t, i) -= static_cast<S>(g_j[i] * weight_gradient);
        dlogits(t, e) += static_cast<S>(weight_gradient);
      }
    }
  }

 private:
  static constexpr auto* kWhere = "moe::SparseMixerGate";

  /// Writes the logits of the candidates, -infinity for the others; returns the best.
  template <class S>
  std::int32_t candidates(const S* logits, Index n, const std::int32_t* chosen, Index count,
                          double* masked) const {
    constexpr double kNever = -std::numeric_limits<double>::infinity();
    const auto taken = [&](Index e) {
      return std::find(chosen, chosen + count, e) != chosen + count;
    };
    std::int32_t best = kNoExpert;
    for (Index e = 0; e < n; ++e) {
      masked[e] = static_cast<double>(logits[e]);
      if (taken(e)) continue;
      if (best == kNoExpert || ranks_before(masked[e], e, masked[best], Index{best})) {
        best = static_cast<std::int32_t>(e);
      }
    }
    const double m = masked[best];
    for (Index e = 0; e < n; ++e) {
      const double l = masked[e];
      // 0 / 0 at l = m = 0 is NaN and keeps the expert
      if (taken(e) || (m - l) / std::max(std::abs(l), m) > 2 * options_.jitter) masked[e] = kNever;
    }
    return best;
  }

  /// Gumbel argmax among the candidates: a draw from their softmax.
  static std::int32_t draw(const double* masked, Index n, std::int32_t best, const Draws& draws,
                           Index t, Index j) {
    double largest = -std::numeric_limits<double>::infinity();
    for (Index e = 0; e < n; ++e) {
      const double noisy = masked[e] + draws.gumbel(t, j * n + e);
      if (!(noisy > largest)) continue;
      largest = noisy;
      best = static_cast<std::int32_t>(e);
    }
    return best;
  }

  Index top_k_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
