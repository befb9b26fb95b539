// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The weights of an FFN expert with adapters: made for a call, merged, and taken apart again.
#pragma once

#include <memory>
#include <utility>

#include "moe/expert/ffn.hpp"
#include "moe/train/lora/adapters.hpp"

MOE_NAMESPACE_BEGIN

/// What an expert's adapters were in a forward: the weights made then lie by it.
struct AdaptersThen {
  bool merged = false;
  std::uint8_t matrices = 0;  ///< adapted ones, a bit each
};

/// A base FFN, its own or shared with others, whose matrices W act as W + alpha / r B A. What LoraFfn
/// is besides its calls.
template <class S, class Base, bool IsShared>
class LoraWeights : private FfnAdapters<S> {
  using Adapters = FfnAdapters<S>;

 public:
  using Adapters::gate, Adapters::in, Adapters::out;

  const Base& base() const {
    if constexpr (IsShared) {
      return *base_;
    } else {
      return base_;
    }
  }
  double scale() const { return lora_.scale(); }
  FfnShape shape() const { return base().shape(); }

  void check_shapes(std::string_view function, const FfnShape& expected) const {
    base().check_shapes(function, expected);
    Adapters::check_shapes(function, expected);
  }

  /// Values that adapted_pointers writes: none while merged.
  Index adapted_size() const { return merged_ ? 0 : Adapters::size(); }

  /// What adapted_pointers needs of its scratch.
  detail::LowRankSizes adapted_scratch() const {
    return merged_ ? detail::LowRankSizes{} : Adapters::scratch_sizes();
  }

  /// The expert's weights for one call; what an adapter changes is made at `room`.
  FfnPointers<const S> adapted_pointers(S* room, LowRankScratch<S>& scratch) const {
    if (!merged_) Adapters::apply(base().pointers(), scale(), room, scratch);
    return pointers_at(room);
  }

  /// The same later, with what that call made at `room`: the base may have moved in between.
  FfnPointers<const S> pointers_at(const S* room) const {
    const FfnPointers<const S> p = base().pointers();
    return merged_ ? p : Adapters::applied(p, room);
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

  AdaptersThen adapters_now() const { return {merged_, Adapters::matrices()}; }

  /// Throws std::invalid_argument when the adapters of the expert, called `name...`, are merged now and
  /// were not in the forward, or the other way round, or are those of other matrices.
  template <class... Name>
  void check_adapters(std::string_view function, const AdaptersThen& then,
                      const Name&... name) const {
    detail::check_same_side(function, then.merged, merged_, name...);
    if (then.matrices != Adapters::matrices()) {
      detail::fail(function, name..., " has adapters of other matrices than in the forward");
    }
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
    Adapters::add_gradients(scale(), x, dy, dgate, din, hidden, shape().hidden_dim, n, scratch,
                            executor);
  }

  /// Memory for adapter_gradients of up to `rows` rows.
  void reserve_gradients(Index rows, LowRankScratch<S>& scratch,
                         const ExecutorRef& executor) const {
    if (!merged_) Adapters::reserve(rows, scratch, executor);
  }

  /// The base under its own names (unless shared), then "lora.w_in.a", "lora.w_in.b" and so on.
  template <class F>
  void visit_parameters(F&& f) {
    if constexpr (!IsShared) base_.visit_parameters(f);
    Adapters::visit(f);
  }

  /// The FFN that computes the same, bit by bit, without adapters.
  Base merged_ffn() const {
    LoraWeights<S, Base, false> own;
    own.base_ = base();
    static_cast<Adapters&>(own) = *this;
    own.lora_ = lora_;
    own.merged_ = merged_;
    own.merge(/*keep=*/false);
    return std::move(own.base_);
  }

  bool merged() const { return merged_; }
  /// Whether unmerge restores the bits of the original weights.
  bool keeps_original() const { return !kept_.empty(); }

  /// What saving keeps besides the options, while merged: the original weights, if they were kept.
  template <class F>
  void visit_state(F&& f) {
    kept_.visit_state(f);
  }

  /// Puts the change into the weights: outputs keep their bits, calls cost what the base costs, A and B
  /// get no gradients. With `keep` the original weights are kept, and unmerge restores their bits;
  /// without, it subtracts the change again, which is off by rounding: at most about two units in the
  /// last place of the larger of the weight and the merged weight. A and B must not change between.
  void merge(bool keep = true) requires(!IsShared) {
    if (!merged_) kept_.merge(base_, *this, scale(), keep);
    merged_ = true;
  }
  void unmerge() requires(!IsShared) {
    if (merged_) kept_.unmerge(base_, *this, scale());
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
    if (Adapters::empty()) return;
    detail::fail(function, "the mean of adapters is not the adapter of the mean, expected experts ",
                 "without: merged_layer()");
  }

  /// Fresh adapters: random A, zero B. Throws std::invalid_argument while merged.
  void draw_adapters(Random& random) {
    check_growth("moe::draw_anew");
    Adapters::draw_anew(random);
  }

 protected:
  const LoraOptions& lora_options() const { return lora_; }

  using Held = std::conditional_t<IsShared, std::shared_ptr<const Base>, Base>;

  LoraWeights() = default;

  /// Fresh adapters for a base; one of its own is frozen. Throws std::invalid_argument on bad options.
  LoraWeights(Held held, const LoraOptions& options, Random& random) : base_(std::move(held)) {
    if constexpr (IsShared) {
      if (base_ == nullptr) detail::fail("moe::LoraFfn", "base is null, expected an FFN");
    }
    options.check("moe::LoraFfn");
    base().check_shapes("moe::LoraFfn", shape());
    lora_ = options;
    Adapters::start(shape(), options, random);
    freeze_base();
  }

 private:
  template <class, class, bool>
  friend class LoraWeights;

  Held base_;
  LoraOptions lora_{.rank = 0};
  bool merged_ = false;
  detail::MergedFfn<S> kept_;
};

MOE_NAMESPACE_END
