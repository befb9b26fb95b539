// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Expert choice gate: each expert takes the C tokens it likes best.
#pragma once

#include <span>

#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// p = softmax(logits / temperature) over experts or over tokens; each expert takes the C tokens of
/// largest p, ties to the earlier token; weights p. T counts no padding, and C is the rounded
/// capacity_factor T / E, at least min_capacity, up to a multiple of capacity_multiple, at most T
/// (Zhou et al. 2022, "Mixture-of-Experts with Expert Choice Routing"; Flaxformer, V-MoE, praxis;
/// over tokens with average_experts: Mesh TensorFlow).
///
/// WARNING: not causal. Whether an expert takes a token depends on all tokens of the call, later
/// ones included: a decoder trained with it learns from the future and fails when it generates
/// token by token. For the same reason a split batch is routed differently. Encoders and images
/// only.
class ExpertChoiceGate {
 public:
  enum class Softmax { over_experts, over_tokens };
  /// f T / E -> a whole number, f the factor.
  enum class Rounding {
    nearest,  ///< round(f T / E), halves to even (Flaxformer; V-MoE's "round")
    up,       ///< ceil(f T / E) (V-MoE, with capacity_multiple = 4)
    down,     ///< floor(f floor(T / E)) (praxis)
  };
  struct Options {
    Softmax softmax = Softmax::over_experts;
    double capacity_factor = 0;  ///< f, mean number of experts per token; 0: Dims::top_k
    Rounding rounding = Rounding::nearest;
    Index min_capacity = 1;       ///< Flaxformer: 4
    Index capacity_multiple = 1;  ///< V-MoE: 4
    Index max_experts = 0;  ///< K: a token keeps its K largest weights; 0: all E, as published
    bool average_experts = false;  ///< weights divided by the number of experts that took the token
    double temperature = 1;

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("softmax", softmax);
      f("capacity_factor", capacity_factor);
      f("rounding", rounding);
      f("min_capacity", min_capacity);
      f("capacity_multiple", capacity_multiple);
      f("max_experts", max_experts);
      f("average_experts", average_experts);
      f("temperature", temperature);
    }
  };
  struct State {
    Buffer<std::int32_t> tokens;  ///< [2 T] those that are not padding; their order
    Buffer<double> gradient;      ///< [T, E]
    Buffer<double> inner;         ///< [max(T, E)]
  };

  ExpertChoiceGate() = default;

  /// Throws std::invalid_argument unless every option is as its comment says.
  ExpertChoiceGate(const Dims& dims, const Options& options)
      : top_k_(detail::check_most_experts(kWhere, dims, options.max_experts)), options_(options) {
    if (options.capacity_factor == 0) options_.capacity_factor = static_cast<double>(dims.top_k);
    detail::check_above_zero(kWhere, "capacity_factor", options_.capacity_factor);
    detail::check_positive(kWhere, "min_capacity", options.min_capacity);
    detail::check_positive(kWhere, "capacity_multiple", options.capacity_multiple);
    set_temperature(options.temperature);
  }

  Index top_k() const { return top_k_; }
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

  /// C for so many tokens that are not padding. What is whole up to rounding stays whole.
  Index capacity(Index tokens, Index experts) const {
    const double f = options_.capacity_factor, t = static_cast<double>(tokens);
    const auto e = static_cast<double>(experts);
    double share = std::nearbyint(f * t / e);
    if (options_.rounding == Rounding::up) share = std::ceil(f * t / e * (1 - 1e-12));
    if (options_.rounding == Rounding::down)
      share = std::floor(f * std::floor(t / e) * (1 + 1e-12));
    if (share >= t) return tokens;
    const Index least = std::max(options_.min_capacity, static_cast<Index>(share));
    if (least >= tokens) return tokens;
    const Index multiple = options_.capacity_multiple;
    return std::min(tokens, (least - 1) / multiple * multiple + multiple);
  }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch,
               State& state) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    const Index n = logits.cols();
    Index real = 0;
    std::int32_t* tokens = state.tokens.resize(2 * logits.rows()).data();
    std::int32_t* order = tokens + logits.rows();
    for (Index t = 0; t < logits.rows(); ++t) {
      choose_nobody(routing, t);
      std::fill_n(routing.scores.row(t), n, S(0));
      if (!batch.is_padding(t)) tokens[real++] = static_cast<std::int32_t>(t);
    }
    score(logits, routing, std::span(tokens, static_cast<std::size_t>(real)));
    const Index c = capacity(real, n);
    for (Index e = 0; e < n; ++e) {
      partition_top_k([&](Index i) { return routing.scores(tokens[i], e); }, real, c, order);
      for (Index i = 0; i < c; ++i) take(routing, tokens[order[i]], e);
    }
    for (Index t = 0; options_.average_experts && t < logits.rows(); ++t) {
      const Index count = used(routing, t);
      for (Index j = 0; j < count; ++j) routing.weight(t, j) /= static_cast<S>(count);
    }
  }

  /// dl_te = p_te (dp_te - sum p dp) / temperature, the sum over the axis of the softmax.
  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State& state) const {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    const Index n = routing.num_experts(), t_count = routing.tokens();
    const bool over_tokens = options_.softmax == Softmax::over_tokens;
    const MatrixView<double> dp = state.gradient.resize(t_count, n);
    double* inner = state.inner.resize(std::max(t_count, n)).data();
    std::fill_n(inner, state.inner.size(), 0.0);
    for (Index t = 0; t < t_count; ++t) {
      const Index count = used(routing, t);
      const double share = options_.average_experts ? 1 / static_cast<double>(count) : 1;
      for (Index e = 0; e < n; ++e) dp(t, e) = static_cast<double>(dscores(t, e));
      for (Index j = 0; j < count; ++j) {
        dp(t, routing.expert(t, j)) += share * static_cast<double>(dweight(t, j));
      }
      for (Index e = 0; e < n; ++e) {
        const double term = static_cast<double>(routing.scores(t, e)) * dp(t, e);
        if (!over_tokens || std::isfinite(term)) inner[over_tokens ? e : t] += term;
      }
    }
    for (Index t = 0; t < t_count; ++t) {
      for (Index e = 0; e < n; ++e) {
        const double p = static_cast<double>(routing.scores(t, e)) / options_.temperature;
        if (p != 0) dlogits(t, e) += static_cast<S>(p * (dp(t, e) - inner[over_tokens ? e : t]));
      }
    }
  }

 private:
  static constexpr auto* kWhere = "moe::ExpertChoiceGate";

  template <class S>
  static Index used(const Routing<S>& routing, Index t) {
    const std::int32_t* first = routing.expert.row(t);
    return std::find(first, first + routing.top_k(), kNoExpert) - first;
  }

  template <class S>
  void score(MatrixView<const S> logits, Routing<S>& routing,
             std::span<const std::int32_t> tokens) const {
    const auto scale = static_cast<S>(1 / options_.temperature);
    if (options_.softmax == Softmax::over_experts) {
      for (const Index t : tokens) {
        softmax_row(logits.row(t), logits.cols(), scale, routing.scores.row(t));
      }
      return;
    }
    for (Index e = 0; e < logits.cols(); ++e) {
      softmax_over_tokens(logits, e, scale, tokens, routing);
    }
  }

  /// A token whose logit is NaN or +Inf spoils itself alone: its score is NaN, and the others are shared
  /// among the rest. -Inf scores 0, also where no token scores more.
  template <class S>
  static void softmax_over_tokens(MatrixView<const S> logits, Index e, S scale,
                                  std::span<const std::int32_t> tokens, Routing<S>& routing) {
    constexpr S kInfinity = std::numeric_limits<S>::infinity();
    S largest = -kInfinity;
    for (const Index t : tokens) {
      const S l = logits(t, e);
      if (l > largest && l < kInfinity) largest = l;
    }
    double sum = 0;
    for (const Index t : tokens) {
      const S l = logits(t, e);
      S p = l == -kInfinity ? S(0) : std::exp((l - largest) * scale);
      if (l == kInfinity) p = std::numeric_limits<S>::quiet_NaN();
      routing.scores(t, e) = p;
      if (!std::isnan(p)) sum += static_cast<double>(p);
    }
    if (sum == 0) return;
    for (const Index t : tokens) {
      routing.scores(t, e) = static_cast<S>(static_cast<double>(routing.scores(t, e)) / sum);
    }
  }

  /// Gives expert e a place at token t: a free one, or that of a smaller weight.
  template <class S>
  void take(Routing<S>& routing, Index t, Index e) const {
    const S p = routing.scores(t, e);
    Index j = used(routing, t);
    if (j == top_k_) {
      j = 0;
      for (Index i = 1; i < top_k_; ++i) {
        if (ranks_before(routing.weight(t, j), Index{routing.expert(t, j)}, routing.weight(t, i),
                         Index{routing.expert(t, i)})) {
          j = i;
        }
      }
      if (!ranks_before(p, e, routing.weight(t, j), Index{routing.expert(t, j)})) return;
    }
    routing.expert(t, j) = static_cast<std::int32_t>(e);
    routing.weight(t, j) = p;
  }

  Index top_k_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
