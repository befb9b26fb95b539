// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Quantile-balanced gate: top-k under a bias per expert, set so that each expert would have taken
// its equal share of the last batch.
#pragma once

#include <utility>
#include <vector>

#include "moe/gate/top_k.hpp"

MOE_NAMESPACE_BEGIN

/// Chosen: the K largest of logit_e - beta_e; weights as TopKGate from the plain logits
/// (Megatron-LM, quantile balancing). After a training step, in place of a balance loss:
///   gate.observe(logits, batch);  // for each batch of the step
///   gate.update();
/// observe: alpha_t = the (K+1)-th largest of l_t - beta; quantile_e = the (T K / E + 1)-th largest
/// of l_te - alpha_t. update: beta = ema beta + (1 - ema) mean of the quantiles, then minus its
/// mean.
class QuantileGate {
 public:
  struct Options {
    double ema = 0;  ///< in [0, 1): how much of the old beta stays
    /// Score function, normalisation and scale of the weights; no groups, no bias.
    TopKGate::Options weights = {.score = ScoreFunction::softmax_of_chosen};

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("ema", ema);
      f("weights", weights);
    }
  };
  using State = TopKGate::State;

  QuantileGate() = default;

  /// Throws std::invalid_argument unless 1 <= K <= E, ema is in [0, 1), and weights are options of
  /// TopKGate without groups and bias.
  QuantileGate(const Dims& dims, Options options) : ema_(options.ema) {
    if (!(ema_ >= 0 && ema_ < 1)) {
      detail::fail(kWhere, "ema is ", ema_, ", expected at least 0 and below 1");
    }
    if (options.weights.num_groups != 1 || !options.weights.selection_bias.empty()) {
      detail::fail(kWhere, "weights has groups or a selection bias, expected neither");
    }
    detail::check_top_k(kWhere, dims);
    options.weights.select_by = SelectBy::logits;
    options.weights.selection_bias.assign(static_cast<std::size_t>(dims.num_experts), 0.0f);
    gate_ = TopKGate(dims, std::move(options.weights));
    sum_.assign(static_cast<std::size_t>(dims.num_experts), 0.0);
  }

  Index top_k() const { return gate_.top_k(); }
  bool weight_on_input() const { return gate_.weight_on_input(); }
  /// -beta_e.
  std::span<const float> selection_bias() const { return gate_.selection_bias(); }
  /// For loading: -beta_e [E]. Throws std::invalid_argument on another size.
  void set_selection_bias(std::vector<float> bias) {
    // TopKGate would take an empty one, which means no bias there
    detail::check_size(kWhere, "selection_bias", std::ssize(bias), "values", "num_experts",
                       std::ssize(sum_));
    gate_.set_selection_bias(std::move(bias));
  }

  /// As it was made; the bias is state.
  Options options() const {
    Options options{.ema = ema_, .weights = gate_.options()};
    options.weights.selection_bias.clear();
    return options;
  }

  /// What saving keeps besides the options: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    gate_.visit_state(f);
    f(std::string_view("observed_sum"), sum_);
    f(std::string_view("observed_count"), count_);
  }

  /// The same gate after experts came or went (see moe/train/grow.hpp); `change` says what follows.
  template <class Change>
  QuantileGate after(const Change& change) const {
    TopKGate::Options weights = gate_.options();
    const std::vector<float> bias = change.values(std::exchange(weights.selection_bias, {}));
    QuantileGate next({1, 1, change.after(), top_k()},
                      {.ema = ema_, .weights = std::move(weights)});
    next.set_selection_bias(bias);
    next.sum_ = change.values(sum_);
    next.count_ = count_;
    return next;
  }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch,
               State& state) const {
    gate_.forward(logits, routing, batch, state);
  }

  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State& state) const {
    gate_.backward(routing, dweight, dscores, dlogits, state);
  }

  /// Adds the quantiles of one batch. Padding and NaN tokens do not count. Throws
  /// std::invalid_argument unless logits are [T, E] and the mask, when there is one, [T].
  template <class S>
  void observe(MatrixView<const S> logits, const Batch& batch) {
    const Index n = std::ssize(sum_), k = top_k();
    detail::check_size(kWhere, "logits", logits.cols(), "columns", "num_experts", n);
    if (!batch.mask.empty()) {
      detail::check_size(kWhere, "mask", std::ssize(batch.mask), "values", "the number of tokens",
                         logits.rows());
    }
    order_.resize(static_cast<std::size_t>(std::max(n, logits.rows())));
    alpha_.clear();
    token_.clear();
    alpha_.reserve(static_cast<std::size_t>(logits.rows()));  // another time more may be real
    token_.reserve(static_cast<std::size_t>(logits.rows()));
    const auto bias = selection_bias();
    for (Index t = 0; k < n && t < logits.rows(); ++t) {
      if (!can_be_balanced(logits, batch, t)) continue;
      const auto key = [&](Index e) {
        return static_cast<double>(logits(t, e)) +
               static_cast<double>(bias[static_cast<std::size_t>(e)]);
      };
      partition_top_k(key, n, k + 1, order_.data());
      alpha_.push_back(key(order_[static_cast<std::size_t>(k)]));
      token_.push_back(t);
    }
    const Index real = std::ssize(token_);
    if (real == 0) return;
    const Index share = real * k / n;  // below real, as k < n
    for (Index e = 0; e < n; ++e) {
      const auto margin = [&](Index i) {
        const auto at = static_cast<std::size_t>(i);
        return static_cast<double>(logits(token_[at], e)) - alpha_[at];
      };
      partition_top_k(margin, real, share + 1, order_.data());
      sum_[static_cast<std::size_t>(e)] += margin(order_[static_cast<std::size_t>(share)]);
    }
    ++count_;
  }

  /// Moves beta to the mean of what was observed since the last update; nothing when nothing was.
  void update() {
    if (count_ == 0) return;
    double mean = 0;
    std::vector<double>& beta = sum_;
    const auto bias = gate_.selection_bias();
    for (std::size_t e = 0; e < beta.size(); ++e) {
      beta[e] =
          (1 - ema_) * beta[e] / static_cast<double>(count_) - ema_ * static_cast<double>(bias[e]);
      mean += beta[e] / static_cast<double>(beta.size());
    }
    for (std::size_t e = 0; e < beta.size(); ++e) bias[e] = static_cast<float>(mean - beta[e]);
    std::fill(sum_.begin(), sum_.end(), 0.0);
    count_ = 0;
  }

 private:
  static constexpr auto* kWhere = "moe::QuantileGate";

  double ema_ = 0;
  TopKGate gate_;
  std::vector<double> sum_;  ///< [E] of quantiles observed
  Index count_ = 0;
  std::vector<double> alpha_;  ///< scratch of observe
  std::vector<Index> token_;
  std::vector<std::int32_t> order_;
};

MOE_NAMESPACE_END
