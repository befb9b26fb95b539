// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Top-k gate: each token goes to the K experts with the largest score; every published variation is
// an option.
#pragma once

#include <span>
#include <vector>

#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// s = score(logits / temperature); chosen: the K largest of key + selection bias among the allowed
/// groups, ties to the lowest expert index, NaN last; weights: s of the chosen, without the bias,
/// normalised and scaled (Shazeer et al. 2017 and every LLM since).
///
/// Routing::scores, what balance losses see: softmax over all experts, also for softmax_of_chosen;
/// s / sum s for sigmoid and sqrt_softplus.
class TopKGate {
 public:
  struct Options {
    /// Weights of a token are divided by their norm: see norm_*. softmax_of_chosen is normalised by
    /// itself. With K = 1 the weight stays s even so, see normalize_single.
    bool renormalize = true;
    double temperature = 1.0;  ///< above 1 flattens the scores, below 1 sharpens them
    ScoreFunction score = ScoreFunction::softmax;
    /// Added to s, so that no weight vanishes (1e-7: OLMo-core); sigmoid and sqrt_softplus alone.
    double score_epsilon = 0;
    SelectBy select_by = SelectBy::automatic;
    /// [E] or empty. Added to the key, never to a weight, without gradient: DeepSeek-V3's
    /// e_score_correction_bias. Zeros switch on balancing by bias updates.
    std::vector<float> selection_bias = {};
    Index num_groups = 1;  ///< E experts in this many equal groups,
    Index top_groups = 1;  ///< of which a token may use so many
    GroupScore group_score = GroupScore::top2_sum;
    GroupMask group_mask = GroupMask::minus_infinity;
    double norm_p = 1;        ///< of the p-norm (DBRX); 1 is the sum
    double norm_epsilon = 0;  ///< added to the norm (1e-20: HF DeepSeek, Megatron; 1e-9: GShard)
    double norm_min = 0;      ///< the norm is at least this (6.1035e-5: llama.cpp; Ernie)
    /// K = 1 too: the weight is then always 1 and the router learns from balance losses alone.
    bool normalize_single = false;
    /// No gradient goes through the norm: mixture of attention heads (Zhang et al. 2022). Not of
    /// softmax_of_chosen.
    bool constant_norm = false;
    double scale = 1;  ///< of the weights: the routed scaling factor
    /// DeepSeek-V2's own code: either the weights are normalised or they are scaled.
    bool scale_only_unnormalized = false;
    bool weight_on_input = false;  ///< the weight multiplies the expert's input (Llama 4)

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("renormalize", renormalize);
      f("temperature", temperature);
      f("score", score);
      f("score_epsilon", score_epsilon);
      f("select_by", select_by);
      f("selection_bias", selection_bias);
      f("num_groups", num_groups);
      f("top_groups", top_groups);
      f("group_score", group_score);
      f("group_mask", group_mask);
      f("norm_p", norm_p);
      f("norm_epsilon", norm_epsilon);
      f("norm_min", norm_min);
      f("normalize_single", normalize_single);
      f("constant_norm", constant_norm);
      f("scale", scale);
      f("scale_only_unnormalized", scale_only_unnormalized);
      f("weight_on_input", weight_on_input);
    }
  };

  /// Memory of one call.
  struct State {
    Buffer<double> key;          ///< [E] keys with bias, then one value per group
    Buffer<double> divisor;      ///< [T] of scores_to_distribution
    Buffer<double> chosen;       ///< [2 K] raw scores and their gradients
    Buffer<std::int32_t> order;  ///< of groups
  };

  TopKGate() = default;

  /// Throws std::invalid_argument unless 1 <= K <= E and every option is as its comment says.
  TopKGate(const Dims& dims, Options options)
      : top_k_(dims.top_k), num_experts_(dims.num_experts), options_(std::move(options)) {
    detail::check_top_k(kWhere, dims);
    set_temperature(options_.temperature);
    set_selection_bias(options_.selection_bias);
    check_weights();
    check_groups();
  }

  Index top_k() const { return top_k_; }
  Index num_experts() const { return num_experts_; }
  const Options& options() const { return options_; }
  bool weight_on_input() const { return options_.weight_on_input; }

  /// For annealing. Throws std::invalid_argument unless finite and positive.
  void set_temperature(double temperature) {
    detail::check_above_zero(kWhere, "temperature", temperature);
    options_.temperature = temperature;
  }

  /// [E], or empty when there is none; balancing rules change it in place.
  std::span<float> selection_bias() { return options_.selection_bias; }
  std::span<const float> selection_bias() const { return options_.selection_bias; }

  /// Throws std::invalid_argument unless bias is empty or has E finite values.
  void set_selection_bias(std::vector<float> bias) {
    if (!bias.empty()) {
      detail::check_size(kWhere, "selection_bias", std::ssize(bias), "values", "num_experts",
                         num_experts_);
    }
    check_finite(bias);
    options_.selection_bias = std::move(bias);
  }

  /// What saving keeps besides the options: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_temperature(kWhere, options_.temperature, f);
    f(std::string_view("selection_bias"), options_.selection_bias, check_finite);
  }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch,
               State& state) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    const Index e = logits.cols();
    const auto scale = static_cast<S>(1 / options_.temperature);
    const WeightRule rule = weight_rule();
    double* u = state.chosen.resize(2 * top_k_).data();
    state.divisor.resize(logits.rows());
    score_rows<S>(options_.score, logits, scale, routing.scores);
    for (Index t = 0; t < logits.rows(); ++t) {
      S* s = routing.scores.row(t);
      std::int32_t* chosen = routing.expert.row(t);
      if (options_.score_epsilon > 0) {
        for (Index i = 0; i < e; ++i) s[i] += static_cast<S>(options_.score_epsilon);
      }
      select(logits.row(t), s, e, chosen, state);
      if (softmax_of_chosen()) {
        for (Index j = 0; j < top_k_; ++j) u[j] = static_cast<double>(logits(t, chosen[j]));
        softmax_row(u, top_k_, 1 / options_.temperature, u);
      } else {
        for (Index j = 0; j < top_k_; ++j) u[j] = static_cast<double>(s[chosen[j]]);
      }
      rule.weights(u, top_k_, routing.weight.row(t));
      if (independent()) state.divisor[t] = scores_to_distribution(s, e);
    }
  }

  /// Through scale and normalisation to the chosen scores, then through the score function.
  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State& state) const {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    if (independent()) detail::check_gate_state(kWhere, state.divisor.size(), routing.tokens());
    const Index e = routing.num_experts();
    const double scale = 1 / options_.temperature;
    const WeightRule rule = weight_rule();
    double* u = state.chosen.resize(2 * top_k_).data();
    double* du = u + top_k_;
    for (Index t = 0; t < routing.tokens(); ++t) {
      const std::int32_t* chosen = routing.expert.row(t);
      if (chosen[0] == kNoExpert) continue;  // padding
      const S* s = routing.scores.row(t);
      const double divisor = independent() ? state.divisor[t] : 1;
      for (Index j = 0; j < top_k_; ++j) {
        u[j] = softmax_of_chosen() ? static_cast<double>(routing.weight(t, j)) / rule.scale
                                   : static_cast<double>(s[chosen[j]]) * divisor;
      }
      rule.gradient(u, dweight.row(t), top_k_, du);
      if (softmax_of_chosen()) {
        double inner = 0;
        for (Index j = 0; j < top_k_; ++j) inner += u[j] * du[j];
        for (Index j = 0; j < top_k_; ++j) {
          dlogits(t, chosen[j]) += static_cast<S>(scale * u[j] * (du[j] - inner));
        }
      }
      const Index through_scores = softmax_of_chosen() ? 0 : top_k_;
      if (independent()) {
        scores_row_backward(options_.score, s, e, divisor, scale, dscores.row(t), chosen, du,
                            through_scores, dlogits.row(t), options_.score_epsilon);
      } else {
        softmax_row_backward(s, e, scale, dscores.row(t), chosen, du, through_scores,
                             dlogits.row(t));
      }
    }
  }

 private:
  static constexpr auto* kWhere = "moe::TopKGate";

  static void check_finite(std::span<const float> bias) {
    for (const float b : bias) {
      if (!std::isfinite(b)) {
        detail::fail(kWhere, "selection_bias contains ", b, ", expected finite values");
      }
    }
  }

  bool learns_from_norm() const { return top_k_ > 1 || options_.normalize_single; }
  bool softmax_of_chosen() const {
    return options_.score == ScoreFunction::softmax_of_chosen && learns_from_norm();
  }
  bool independent() const {
    return options_.score == ScoreFunction::sigmoid ||
           options_.score == ScoreFunction::sqrt_softplus;
  }
  bool by_scores() const {
    if (options_.select_by != SelectBy::automatic) return options_.select_by == SelectBy::scores;
    return options_.score != ScoreFunction::softmax_of_chosen &&
           (!options_.selection_bias.empty() || options_.num_groups > 1);
  }
  WeightRule weight_rule() const {
    const bool normalized = options_.renormalize && learns_from_norm() &&
                            options_.score != ScoreFunction::softmax_of_chosen;
    return {.normalized = normalized,
            .p = options_.norm_p,
            .epsilon = options_.norm_epsilon,
            .least = options_.norm_min,
            .scale = normalized && options_.scale_only_unnormalized ? 1 : options_.scale,
            .constant_norm = options_.constant_norm};
  }

  template <class S>
  void select(const S* logits, const S* s, Index n, std::int32_t* chosen, State& state) const {
    const S* score = by_scores() ? s : logits;
    if (options_.selection_bias.empty() && options_.num_groups == 1) {
      return select_top_k(score, n, top_k_, chosen);
    }
    double* key = state.key.resize(n + options_.num_groups).data();
    std::copy_n(score, n, key);
    for (std::size_t e = 0; e < options_.selection_bias.size(); ++e) {
      key[e] += static_cast<double>(options_.selection_bias[e]);
    }
    if (options_.num_groups > 1) {
      const GroupLimit limit{options_.num_groups, options_.top_groups, options_.group_score,
                             options_.group_mask};
      limit.apply(key, n, top_k_, key + n, state.order.resize(n).data());
    }
    select_top_k(key, n, top_k_, chosen);
  }

  void check_weights() const {
    if (!(options_.norm_p >= 1) || !std::isfinite(options_.norm_p)) {
      detail::fail(kWhere, "norm_p is ", options_.norm_p,
                   ", expected a finite value of at least 1");
    }
    detail::check_at_least_zero(kWhere, "score_epsilon", options_.score_epsilon);
    if (options_.score_epsilon > 0 && !independent()) {
      detail::fail(kWhere, "score_epsilon is ", options_.score_epsilon,
                   ", expected 0 unless the score is sigmoid or sqrt_softplus");
    }
    detail::check_at_least_zero(kWhere, "norm_epsilon", options_.norm_epsilon);
    detail::check_at_least_zero(kWhere, "norm_min", options_.norm_min);
    if (options_.scale == 0 || !std::isfinite(options_.scale)) {
      detail::fail(kWhere, "scale is ", options_.scale, ", expected a finite value other than 0");
    }
  }

  void check_groups() const {
    const Index groups = options_.num_groups, kept = options_.top_groups;
    detail::check_positive(kWhere, "num_groups", groups);
    if (num_experts_ % groups != 0) {
      detail::fail(kWhere, "num_groups is ", groups,
                   ", expected a divisor of num_experts = ", num_experts_);
    }
    if (kept < 1 || kept > groups) {
      detail::fail(kWhere, "top_groups is ", kept, ", expected 1 to num_groups = ", groups);
    }
    if (kept * (num_experts_ / groups) < top_k_) {
      detail::fail(kWhere, "top_groups is ", kept, " groups of ", num_experts_ / groups,
                   " experts, expected room for top_k = ", top_k_);
    }
    if (groups > 1 && options_.group_score == GroupScore::top_share_sum && top_k_ < kept) {
      detail::fail(kWhere, "top_k is ", top_k_, ", expected at least top_groups = ", kept,
                   " when groups are scored by their top_k / top_groups best");
    }
  }

  Index top_k_ = 0;
  Index num_experts_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
