// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A linear router with a low-rank adapter: logits [T, E] = x [T, D] (W + alpha / r B A)^T + b.
#pragma once

#include <utility>

#include "moe/router/linear.hpp"
#include "moe/router/wrapper.hpp"
#include "moe/train/lora/low_rank.hpp"

MOE_NAMESPACE_BEGIN

/// W and b are frozen, A and B train. W + alpha / r B A is made in each call, E r D multiply-adds: less
/// than a product of its own for the tokens, and the logits, on which the choices hang, are bit by bit
/// those of the merged router.
template <class S>
class LoraRouter : public RouterWrapper<LinearRouter<S>> {
 public:
  using RouterWrapper<LinearRouter<S>>::base;
  using RouterWrapper<LinearRouter<S>>::num_experts;
  using RouterWrapper<LinearRouter<S>>::model_dim;
  using Scalar = S;
  struct Options {
    typename LinearRouter<S>::Options base{};
    LoraOptions lora{};

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("base", base);
      f("lora", lora);
    }
  };
  struct State : LinearRouter<S>::State {
    Buffer<S> adapted;  ///< [E, D]
    LowRankScratch<S> low_rank;
    bool merged = false;  ///< in the forward
  };

  LoraRouter() = default;
  LoraRouter(const Dims& dims, const Options& options, Random& random)
      : LoraRouter(LinearRouter<S>(dims, options.base, random), options.lora, random) {}

  /// An adapter for a trained router, which is frozen. Throws std::invalid_argument on bad options.
  LoraRouter(LinearRouter<S> router, const LoraOptions& options, Random& random) {
    options.check("moe::LoraRouter");
    base = std::move(router);
    lora_ = options;
    if (options.rank > 0) adapter.start(num_experts(), model_dim(), options.rank, random);
    freeze_base();
  }

  Options options() const { return {detail::options_behind(base), lora_}; }
  double scale() const { return lora_.scale(); }
  void freeze_base() {
    base.visit_parameters([](std::string_view, Parameter<S>& p) {
      p.trainable = false;
      p.grad.resize(0, 0);
    });
  }

  void check_shapes(std::string_view function) const {
    base.check_shapes(function);
    adapter.check_shapes(function, "the router", num_experts(), model_dim());
  }

  void forward(MatrixView<const S> x, MatrixView<S> logits, const Batch& batch, State& state,
               ExecutorRef executor) const {
    detail::check_router_forward("moe::LoraRouter::forward", *this, x, logits, batch);
    state.merged = merged_;
    const S* bias = base.bias.empty() ? nullptr : base.bias.value.data();
    linear_forward<S>(x, weights(state), bias, logits, state.scratch, executor);
  }

  void backward(MatrixView<const S> x, MatrixView<const S> dlogits, MatrixView<S> dx, State& state,
                ExecutorRef executor) {
    detail::check_router_backward("moe::LoraRouter::backward", *this, x, dlogits, dx);
    check_state("moe::LoraRouter::backward", state);
    S* dbias = detail::trained_gradient(base.bias).data();
    linear_backward<S>(x, weights(state), dlogits, dx, detail::trained_gradient(base.weight), dbias,
                       state.scratch, executor);
    if (merged_) return;
    detail::low_rank_gradients<S>(adapter, scale(), {x.data(), x.stride()},
                                  {dlogits.data(), dlogits.stride()}, x.rows(), state.low_rank,
                                  executor);
  }

  /// For experts that come and go: see moe/train/grow.hpp.
  static ExpertAxis expert_axis(std::string_view name) {
    if (name == "lora.b") return ExpertAxis::rows;
    return name == "lora.a" ? ExpertAxis::none : LinearRouter<S>::expert_axis(name);
  }

  /// Throws std::invalid_argument while merged: the original weights that merge kept have the experts of
  /// then.
  void check_growth(std::string_view function) const {
    if (!merged_) return;
    detail::fail(function,
                 "the router's adapter is merged into its weights, expected unmerge() or ",
                 "unmerge_lora() first");
  }

  /// Throws std::invalid_argument when the router was merged or unmerged since the forward that filled
  /// `state`: the adapter's gradient would be left out, or come from nowhere.
  void check_state(std::string_view function, const State& state) const {
    detail::check_same_side(function, state.merged, merged_, "the router");
  }

  /// The base under its own names, then "lora.a" and "lora.b".
  template <class F>
  void visit_parameters(F&& f) {
    base.visit_parameters(f);
    adapter.visit_parameters("lora", f);
  }

  bool merged() const { return merged_; }
  /// As LoraFfn's.
  bool keeps_original() const { return kept_.kept.size() != 0; }
  template <class F>
  void visit_state(F&& f) {
    kept_.visit_state("lora.original", f);
  }
  /// As LoraFfn's.
  void merge(bool keep = true) {
    if (!merged_) kept_.merge(base.weight, adapter, scale(), keep);
    merged_ = true;
  }
  void unmerge() {
    if (merged_) kept_.unmerge(base.weight, adapter, scale());
    merged_ = false;
  }
  /// The router that computes the same, bit by bit, without an adapter.
  LinearRouter<S> merged_router() const {
    LoraRouter copy = *this;
    copy.merge(/*keep=*/false);
    return copy.base;
  }

  LowRank<S> adapter;  ///< A [r, D], B [E, r]; empty without

 private:
  MatrixView<const S> weights(State& state) const {
    if (merged_ || adapter.empty()) return base.weight.value;
    const MatrixView<S> adapted = state.adapted.resize(num_experts(), model_dim());
    detail::apply_low_rank<S>(base.weight.value, adapter, scale(), adapted, state.low_rank);
    return adapted;
  }

  LoraOptions lora_{.rank = 0};
  bool merged_ = false;
  detail::MergedMatrix<S> kept_;
};

MOE_NAMESPACE_END
