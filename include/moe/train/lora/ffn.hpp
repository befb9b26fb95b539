// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// An FFN expert whose matrices stay as they are and are changed by low-rank adapters: rows [n, D] ->
// rows [n, D].
#pragma once

#include <memory>
#include <utility>

#include "moe/expert/ffn.hpp"
#include "moe/train/lora/low_rank.hpp"

MOE_NAMESPACE_BEGIN

/// LoraFfn<GatedFfn<float>>, or with one base for all experts of a layer SharedLoraFfn<...>.
template <class F, bool IsShared = false>
class LoraFfn;

/// Every matrix W of the base acts as W + alpha / r B A; the base is frozen, A and B train.
///
/// How it computes: a call first makes W + alpha / r B A of the experts that have rows, in the memory
/// of the call, and gives that to the grouped kernels; nothing in the expert can be out of date. That is
/// r H D multiply-adds per matrix beside the n H D of its n rows, so little while n is some times r.
/// Backward skips the gradients of W (n H D each) and takes those of A and B from what the kernels leave
/// behind, for 2 n r (H + D). For inference on few rows merge first: then nothing is made per call.
template <class S, ActivationName Act, bool IsGated, bool IsShared>
class LoraFfn<FfnExpert<S, Act, IsGated>, IsShared> {
 public:
  using Scalar = S;
  using Base = FfnExpert<S, Act, IsGated>;
  struct Options {
    typename Base::Options base{};
    LoraOptions lora{};

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("base", base);
      f("lora", lora);
    }
  };

  /// Memory of a call on this expert alone.
  struct State {
    typename Base::State base;
    Buffer<S> adapted;
    LowRankScratch<S> low_rank;
  };

  LoraFfn() = default;

  /// A random base with adapters. Throws std::invalid_argument as the base does, and on bad options.
  LoraFfn(const Dims& dims, const Options& options, Random& random) requires(!IsShared)
      : LoraFfn(Base(dims, options.base, random), options.lora, random) {}

  /// Adapters for a trained base, which is frozen.
  LoraFfn(Base base, const LoraOptions& options, Random& random) requires(!IsShared)
      : base_(std::move(base)) {
    attach(options, random);
    freeze_base();
  }

  /// Adapters for a base that others use too, and that is never changed nor visited.
  LoraFfn(std::shared_ptr<const Base> base, const LoraOptions& options,
          Random& random) requires(IsShared)
      : base_(std::move(base)) {
    if (base_ == nullptr) detail::fail("moe::LoraFfn", "base is null, expected an FFN");
    attach(options, random);
  }

  const Base& base() const {
    if constexpr (IsShared) {
      return *base_;
    } else {
      return base_;
    }
  }
  Options options() const { return {detail::options_behind(base()), lora_}; }
  double scale() const { return lora_.scale(); }
  FfnShape shape() const { return base().shape(); }

  void check_shapes(std::string_view function, const FfnShape& expected) const {
    base().check_shapes(function, expected);
    gate.check_shapes(function, "w_gate", expected.hidden_dim, expected.model_dim);
    in.check_shapes(function, "w_in", expected.hidden_dim, expected.model_dim);
    out.check_shapes(function, "w_out", expected.model_dim, expected.hidden_dim);
  }

  /// Values that adapted_pointers writes.
  Index adapted_size() const { return merged_ ? 0 : gate.size() + in.size() + out.size(); }

  /// What adapted_pointers needs of its scratch.
  detail::LowRankSizes adapted_scratch() const {
    using Sizes = detail::LowRankSizes;
    if (merged_) return {};
    return Sizes::largest(detail::apply_sizes(gate),
                          Sizes::largest(detail::apply_sizes(in), detail::apply_sizes(out)));
  }

  /// The expert's weights for one call; what an adapter changes is made at `room`.
  FfnPointers<const S> adapted_pointers(S* room, LowRankScratch<S>& scratch) const {
    const FfnPointers<const S> p = pointers_at(room);
    if (merged_) return p;
    const auto make = [&](const LowRank<S>& adapter, const Parameter<S>& w) {
      if (adapter.empty()) return;
      detail::apply_low_rank<S>(w.value, adapter, scale(),
                                MatrixView<S>(room, w.value.rows(), w.value.cols()), scratch);
      room += adapter.size();
    };
    make(gate, base().w_gate);
    make(in, base().w_in);
    make(out, base().w_out);
    return p;
  }

  /// The same later, with what that call made at `room`: the base may have moved in between.
  FfnPointers<const S> pointers_at(const S* room) const {
    FfnPointers<const S> p = base().pointers();
    if (merged_) return p;
    const auto place = [&](const LowRank<S>& adapter, const S*& pointer) {
      if (!adapter.empty()) pointer = std::exchange(room, room + adapter.size());
    };
    place(gate, p.w_gate);
    place(in, p.w_in);
    place(out, p.w_out);
    return p;
  }

  /// For what reads weights in place, such as packing. Throws std::invalid_argument unless merged, or
  /// without adapters.
  FfnPointers<const S> pointers() const {
    if (adapted_size() != 0) {
      detail::fail("moe::LoraFfn::pointers",
                   "the adapters are apart from the weights, expected merge() or merged_layer() "
                   "first");
    }
    return base().pointers();
  }

  /// Of the base, where its parts train.
  FfnPointers<S> gradient_pointers() {
    if constexpr (IsShared) {
      return {};
    } else {
      return base_.gradient_pointers();
    }
  }

  /// Gradients of A and B from one backward of the FFN over n rows: x and dy as they lie, and, by
  /// row, its gradients of the pre-activations and its weighted activations [n, H]. None while merged.
  void adapter_gradients(const detail::LyingRows<S>& x, const detail::LyingRows<S>& dy,
                         const S* dgate, const S* din, const S* hidden, Index n,
                         LowRankScratch<S>& scratch, const ExecutorRef& executor) {
    if (merged_) return;
    const Index h = shape().hidden_dim;
    detail::low_rank_gradients<S>(gate, scale(), x, {dgate, h}, n, scratch, executor);
    detail::low_rank_gradients<S>(in, scale(), x, {din, h}, n, scratch, executor);
    detail::low_rank_gradients<S>(out, scale(), {hidden, h}, dy, n, scratch, executor);
  }

  /// Memory for adapter_gradients of up to `rows` rows.
  void reserve_gradients(Index rows, LowRankScratch<S>& scratch,
                         const ExecutorRef& executor) const {
    if (merged_) return;
    for (const LowRank<S>* adapter : {&gate, &in, &out}) {
      detail::reserve_gradients(*adapter, rows, scratch, executor);
    }
  }

  /// out [n, D] from in [n, D], this expert alone.
  void forward(MatrixView<const S> rows, MatrixView<S> to, State& state,
               ExecutorRef executor = {}) const {
    constexpr auto* kWhere = "moe::LoraFfn::forward";
    detail::check_size(kWhere, "in", rows.cols(), "columns", "model_dim", shape().model_dim);
    detail::check_shape(kWhere, "out", to, rows.rows(), rows.cols());
    detail::check_no_alias(kWhere, "in", rows, "out", to);
    check_shapes(kWhere, shape());
    const auto weights =
        adapted_pointers(state.adapted.resize(adapted_size()).data(), state.low_rank);
    ffn_forward<S>(shape(), state.base.all_rows(rows.rows()), {&weights, 1}, rows, to,
                   state.base.scratch, &state.base.saved, executor);
    state.base.kept_rows = rows.rows();
  }

  /// Writes din [n, D] and adds to the gradients; follows one forward, whose state it consumes. Throws
  /// std::invalid_argument as FfnExpert::backward does; nothing is then changed.
  void backward(MatrixView<const S> rows, MatrixView<const S> dout, MatrixView<S> din, State& state,
                ExecutorRef executor = {}) {
    constexpr auto* kWhere = "moe::LoraFfn::backward";
    typename Base::State& kept = state.base;
    if (kept.kept_rows < 0) {
      detail::fail(kWhere, "the state is empty, expected one forward before each backward");
    }
    check_shapes(kWhere, shape());
    detail::check_shape(kWhere, "in", rows, kept.kept_rows, shape().model_dim);
    detail::check_shape(kWhere, "dout", dout, kept.kept_rows, shape().model_dim);
    detail::check_shape(kWhere, "din", din, kept.kept_rows, shape().model_dim);
    detail::check_no_alias(kWhere, "in", rows, "din", din);
    detail::check_no_alias(kWhere, "dout", dout, "din", din);
    kept.kept_rows = -1;
    const auto weights =
        adapted_pointers(state.adapted.resize(adapted_size()).data(), state.low_rank);
    const FfnPointers<S> gradients = gradient_pointers();
    for (Index i = 0; i < din.rows(); ++i) std::fill_n(din.row(i), din.cols(), S(0));
    ffn_backward<S>(shape(), kept.all_rows(rows.rows()), {&weights, 1}, rows, kept.saved, dout, din,
                    {&gradients, 1}, kept.dweight, kept.scratch, executor);
    adapter_gradients({rows.data(), rows.stride()}, {dout.data(), dout.stride()},
                      kept.saved.gate.data(), kept.saved.in.data(), kept.scratch.hidden.data(),
                      rows.rows(), state.low_rank, executor);
  }

  /// The base under its own names (unless shared), then "lora.w_in.a", "lora.w_in.b" and so on.
  template <class F>
  void visit_parameters(F&& f) {
    if constexpr (!IsShared) base_.visit_parameters(f);
    gate.visit_parameters("lora.w_gate", f);
    in.visit_parameters("lora.w_in", f);
    out.visit_parameters("lora.w_out", f);
  }

  /// The FFN that computes the same, bit by bit, without adapters.
  Base merged_ffn() const {
    LoraFfn<Base> own;
    own.take(base(), gate, in, out, lora_, merged_);
    own.merge(/*keep=*/false);
    return own.base();
  }

  bool merged() const { return merged_; }
  /// Whether unmerge restores the bits of the original weights.
  bool keeps_original() const {
    return kept_gate_.kept.size() + kept_in_.kept.size() + kept_out_.kept.size() != 0;
  }

  /// What saving keeps besides the options, while merged: the original weights, if they were kept.
  template <class F>
  void visit_state(F&& f) {
    kept_gate_.visit_state("lora.w_gate.original", f);
    kept_in_.visit_state("lora.w_in.original", f);
    kept_out_.visit_state("lora.w_out.original", f);
  }

  /// Puts the change into the weights: outputs keep their bits, calls cost what the base costs, A and B
  /// get no gradients. With `keep` the original weights are kept, and unmerge restores their bits;
  /// without, it subtracts the change again, which is off by rounding: at most about two units in the
  /// last place of the larger of the weight and the merged weight. A and B must not change between.
  void merge(bool keep = true) requires(!IsShared) {
    if (merged_) return;
    kept_gate_.merge(base_.w_gate, gate, scale(), keep);
    kept_in_.merge(base_.w_in, in, scale(), keep);
    kept_out_.merge(base_.w_out, out, scale(), keep);
    merged_ = true;
  }
  void unmerge() requires(!IsShared) {
    if (!merged_) return;
    kept_gate_.unmerge(base_.w_gate, gate, scale());
    kept_in_.unmerge(base_.w_in, in, scale());
    kept_out_.unmerge(base_.w_out, out, scale());
    merged_ = false;
  }

  void freeze_base() {
    if constexpr (!IsShared) {
      base_.visit_parameters([](std::string_view, Parameter<S>& p) {
        p.trainable = false;
        p.grad.resize(0, 0);
      });
    }
  }

  /// Throws std::invalid_argument while merged: the original weights that merge kept are not those of
  /// an expert made of this one.
  void check_growth(std::string_view function) const {
    if (!merged_) return;
    detail::fail(function,
                 "the expert's adapters are merged into its weights, expected unmerge() or ",
                 "unmerge_lora() first");
  }

  /// Throws std::invalid_argument: a mean over parameters is not what is wanted here.
  void check_mean(std::string_view function) const {
    if (gate.empty() && in.empty() && out.empty()) return;
    detail::fail(function, "the mean of adapters is not the adapter of the mean, expected experts ",
                 "without: merged_layer()");
  }

  LowRank<S> gate;  ///< of w_gate; empty when plain or not adapted
  LowRank<S> in;    ///< of w_in
  LowRank<S> out;   ///< of w_out

 private:
  template <class, bool>
  friend class LoraFfn;

  void attach(const LoraOptions& options, Random& random) {
    options.check("moe::LoraFfn");
    base().check_shapes("moe::LoraFfn", shape());
    lora_ = options;
    if (options.rank == 0) return;
    const Index d = shape().model_dim, h = shape().hidden_dim;
    if (IsGated && options.on_gate) gate.start(h, d, options.rank, random);
    if (options.on_in) in.start(h, d, options.rank, random);
    if (options.on_out) out.start(d, h, options.rank, random);
  }

  void take(const Base& base, const LowRank<S>& a, const LowRank<S>& b, const LowRank<S>& c,
            const LoraOptions& lora, bool merged) {
    base_ = base;
    gate = a;
    in = b;
    out = c;
    lora_ = lora;
    merged_ = merged;
  }

  std::conditional_t<IsShared, std::shared_ptr<const Base>, Base> base_;
  LoraOptions lora_{.rank = 0};
  bool merged_ = false;
  detail::MergedMatrix<S> kept_gate_, kept_in_, kept_out_;
};

/// Adapters as experts: each expert is the one base FFN with adapters of its own (a mixture of LoRAs).
/// The base is held once, frozen, and no parameter of the layer.
template <class F>
using SharedLoraFfn = LoraFfn<F, true>;

/// Fresh adapters: random A, zero B. Throws std::invalid_argument while merged.
template <class F, bool IsShared>
void draw_anew(LoraFfn<F, IsShared>& expert, Random& random) {
  expert.check_growth("moe::draw_anew");
  for (auto* adapter : {&expert.gate, &expert.in, &expert.out}) {
    if (adapter->empty()) continue;
    adapter->a.init_uniform(random, adapter->a.value.cols());
    adapter->b.value.setZero();
  }
}

MOE_NAMESPACE_END
