// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// GShard gate: the best expert always, the second under a policy.
#pragma once

#include "moe/core/draws.hpp"
#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// When a token uses its second expert, of weight w2.
enum class SecondExpert {
  all,        ///< always
  none,       ///< never
  threshold,  ///< if w2 > threshold
  random,     ///< with probability min(1, w2 / threshold)
  sampling,   ///< always, but it is drawn from the softmax over the other experts (Gumbel argmax)
};

/// p = softmax(logits / temperature); g1, g2: the two largest p (Lepikhin et al. 2020, "GShard";
/// with random, threshold 0.2: Mesh TensorFlow, ST-MoE). Evaluation has its own policy, by default
/// deterministic. Dropping here is the policy's; what capacity drops is the plan's business.
class GShardGate {
 public:
  /// Which weights are divided by their sum g1 + g2 + epsilon.
  enum class Renormalize {
    before,  ///< g1 and g2, then the policy decides on the result (Mesh TensorFlow, lingvo's
             ///< legacy)
    after,   ///< those that the policy kept, so a first expert alone has weight 1 (lingvo,
             ///< DeepSpeed)
    none,    ///< p itself
  };
  struct Options {
    SecondExpert policy = SecondExpert::random;          ///< in training
    SecondExpert evaluation_policy = SecondExpert::all;  ///< otherwise
    double threshold = 0.2;
    Renormalize renormalize = Renormalize::before;
    double epsilon = 1e-9;  ///< added to the sum
    double temperature = 1;

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("policy", policy);
      f("evaluation_policy", evaluation_policy);
      f("threshold", threshold);
      f("renormalize", renormalize);
      f("epsilon", epsilon);
      f("temperature", temperature);
    }
  };
  struct State {
    Buffer<std::int32_t> best;  ///< [T, 2], the second also where the policy dropped it
    Buffer<double> noisy;       ///< [E]
  };

  GShardGate() = default;

  /// Throws std::invalid_argument unless K = 2 <= E, threshold and epsilon are finite and not
  /// negative, and temperature is finite and positive.
  GShardGate(const Dims& dims, const Options& options) : options_(options) {
    detail::check_top_k(kWhere, dims);
    if (dims.top_k != 2) detail::fail(kWhere, "top_k is ", dims.top_k, ", expected 2");
    detail::check_at_least_zero(kWhere, "threshold", options.threshold);
    detail::check_at_least_zero(kWhere, "epsilon", options.epsilon);
    set_temperature(options.temperature);
  }

  Index top_k() const { return 2; }
  const Options& options() const { return options_; }

  /// What saving keeps besides the options: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_temperature(kWhere, options_.temperature, f);
  }

  /// For annealing. Throws std::invalid_argument unless finite and positive.
  void set_temperature(double temperature) {
    detail::check_above_zero(kWhere, "temperature", temperature);
    options_.temperature = temperature;
  }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch,
               State& state) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    const auto scale = static_cast<S>(1 / options_.temperature);
    const auto policy = batch.training ? options_.policy : options_.evaluation_policy;
    const MatrixView<std::int32_t> best = state.best.resize(logits.rows(), 2);
    const Draws draws(batch, "gate.gshard");
    for (Index t = 0; t < logits.rows(); ++t) {
      softmax_row(logits.row(t), logits.cols(), scale, routing.scores.row(t));
      select_top_k(logits.row(t), logits.cols(), Index{2}, best.row(t));
      if (policy == SecondExpert::sampling) {
        best(t, 1) = draw_second(logits.row(t), logits.cols(), best(t, 0), draws, t, state);
      }
      double u[2], w[2];
      raw_weights(routing, best, t, u);
      rule(Renormalize::before).weights(u, 2, w);
      std::copy_n(best.row(t), 2, routing.expert.row(t));
      const bool kept = keeps_second(policy, w[1], draws, t);
      if (!kept) choose_nobody(routing, t, 1);
      rule(options_.renormalize).weights(u, summed(kept), w);
      for (Index j = 0; j < (kept ? 2 : 1); ++j) routing.weight(t, j) = static_cast<S>(w[j]);
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State& state) const {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    detail::check_gate_state(kWhere, state.best.size(), 2 * routing.tokens());
    const MatrixView<std::int32_t> best(state.best.data(), routing.tokens(), 2);
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (routing.expert(t, 0) == kNoExpert) continue;  // padding
      const bool kept = routing.expert(t, 1) != kNoExpert;
      double u[2], du[2] = {0, 0};
      raw_weights(routing, best, t, u);
      const S dw[2] = {dweight(t, 0), kept ? dweight(t, 1) : S(0)};
      rule(options_.renormalize).gradient(u, dw, summed(kept), du);
      softmax_row_backward(routing.scores.row(t), routing.num_experts(), 1 / options_.temperature,
                           dscores.row(t), best.row(t), du, Index{2}, dlogits.row(t));
    }
  }

 private:
  static constexpr auto* kWhere = "moe::GShardGate";

  template <class S>
  static void raw_weights(const Routing<S>& routing, MatrixView<std::int32_t> best, Index t,
                          double* u) {
    for (Index j = 0; j < 2; ++j) u[j] = static_cast<double>(routing.scores(t, best(t, j)));
  }

  /// The rule when `when` is the moment of renormalisation; else the weights stay as they are.
  WeightRule rule(Renormalize when) const {
    const bool now = when == options_.renormalize && when != Renormalize::none;
    return {.normalized = now, .epsilon = options_.epsilon};
  }

  /// How many of the two count in the sum.
  Index summed(bool kept) const {
    return kept || options_.renormalize != Renormalize::after ? 2 : 1;
  }

  bool keeps_second(SecondExpert policy, double w2, const Draws& draws, Index t) const {
    if (policy == SecondExpert::none) return false;
    if (policy == SecondExpert::threshold) return w2 > options_.threshold;
    if (policy != SecondExpert::random) return true;
    // u threshold < w2 also where the threshold is 0
    return draws.uniform(t, 0) * options_.threshold < w2;
  }

  template <class S>
  std::int32_t draw_second(const S* logits, Index n, std::int32_t first, const Draws& draws,
                           Index t, State& state) const {
    double* noisy = state.noisy.resize(n).data();
    for (Index e = 0; e < n; ++e) {
      noisy[e] = static_cast<double>(logits[e]) / options_.temperature + draws.gumbel(t, e + 1);
    }
    std::int32_t ranking[2];
    noisy[first] = std::numeric_limits<double>::infinity();
    select_top_k(noisy, n, Index{2}, ranking);
    return ranking[1];
  }

  Options options_;
};

MOE_NAMESPACE_END
