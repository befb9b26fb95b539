// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// An FFN expert whose matrices stay as they are and are changed by low-rank adapters: rows [n, D] ->
// rows [n, D].
#pragma once

#include <memory>
#include <utility>

#include "moe/core/batch.hpp"
#include "moe/expert/run_weights.hpp"
#include "moe/train/lora/weights.hpp"

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
class LoraFfn<FfnExpert<S, Act, IsGated>, IsShared>
    : public LoraWeights<S, FfnExpert<S, Act, IsGated>, IsShared> {
  using Weights = LoraWeights<S, FfnExpert<S, Act, IsGated>, IsShared>;

 public:
  using Weights::shape, Weights::check_shapes;
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
    Buffer<S> adapted;  ///< the weights made for it
    LowRankScratch<S> low_rank;
    AdaptersThen adapters;  ///< in the forward
  };

  LoraFfn() = default;

  /// A random base with adapters. Throws std::invalid_argument as the base does, and on bad options.
  LoraFfn(const Dims& dims, const Options& options, Random& random) requires(!IsShared)
      : LoraFfn(Base(dims, options.base, random), options.lora, random) {}

  /// Adapters for a trained base, which is frozen.
  LoraFfn(Base base, const LoraOptions& options, Random& random) requires(!IsShared)
      : Weights(std::move(base), options, random) {}

  /// Adapters for a base that others use too, and that is never changed nor visited.
  LoraFfn(std::shared_ptr<const Base> base, const LoraOptions& options,
          Random& random) requires(IsShared)
      : Weights(std::move(base), options, random) {}

  Options options() const { return {detail::options_behind(this->base()), this->lora_options()}; }

  /// out [n, D] from in [n, D], this expert alone.
  void forward(MatrixView<const S> rows, MatrixView<S> to, State& state,
               ExecutorRef executor = {}) const {
    constexpr auto* kWhere = "moe::LoraFfn::forward";
    detail::check_size(kWhere, "in", rows.cols(), "columns", "model_dim", shape().model_dim);
    detail::check_shape(kWhere, "out", to, rows.rows(), rows.cols());
    detail::check_no_alias(kWhere, "in", rows, "out", to);
    check_shapes(kWhere, shape());
    state.base.kept_rows = -1;  // until the forward is done
    start_call(state);
    S* room = state.adapted.resize(this->adapted_size()).data();
    const auto weights = rows.rows() > 0 ? call_pointers(room, state) : FfnPointers<const S>{};
    ffn_forward<S>(shape(), state.base.all_rows(rows.rows()), {&weights, 1}, rows, to,
                   state.base.scratch, &state.base.saved, executor);
    state.base.kept_rows = rows.rows();
  }

  /// Throws what backward would, of anything but rows, dout and din.
  void check_backward(const State& state) const {
    constexpr auto* kWhere = "moe::LoraFfn::backward";
    if (state.base.kept_rows < 0) {
      detail::fail(kWhere, "the state is empty, expected one forward before each backward");
    }
    check_state(kWhere, state, "the expert");
    check_shapes(kWhere, shape());
    if (state.base.saved.shape != shape()) {
      detail::fail(kWhere, "the expert is of another shape than in the forward");
    }
  }

  /// Writes din [n, D] and adds to the gradients; follows one forward, whose state it consumes. Throws
  /// std::invalid_argument as FfnExpert::backward does; nothing is then changed.
  void backward(MatrixView<const S> rows, MatrixView<const S> dout, MatrixView<S> din, State& state,
                ExecutorRef executor = {}) {
    constexpr auto* kWhere = "moe::LoraFfn::backward";
    typename Base::State& kept = state.base;
    check_backward(state);
    detail::check_shape(kWhere, "in", rows, kept.kept_rows, shape().model_dim);
    detail::check_shape(kWhere, "dout", dout, kept.kept_rows, shape().model_dim);
    detail::check_shape(kWhere, "din", din, kept.kept_rows, shape().model_dim);
    detail::check_no_alias(kWhere, "in", rows, "din", din);
    detail::check_no_alias(kWhere, "dout", dout, "din", din);
    kept.kept_rows = -1;
    const auto weights = this->pointers_at(state.adapted.data());
    const FfnPointers<S> gradients = this->gradient_pointers();
    for (Index i = 0; i < din.rows(); ++i) std::fill_n(din.row(i), din.cols(), S(0));
    ffn_backward<S>(shape(), kept.all_rows(rows.rows()), {&weights, 1}, rows, kept.saved, dout, din,
                    {&gradients, 1}, kept.dweight, kept.scratch, executor);
    call_gradients({rows, dout, nullptr, kept.saved.gate.data(), kept.saved.in.data(),
                    kept.scratch.hidden.data(), rows.rows()},
                   state, executor);
  }

  // Among experts of other kinds: see AdaptedFfn.

  /// Notes what the adapters are, and allocates all that call_pointers needs.
  void start_call(State& state) const {
    const detail::LowRankSizes sizes = this->adapted_scratch();
    state.adapters = this->adapters_now();
    state.low_rank.scaled.reserve(sizes.scaled);
    state.low_rank.work.reserve(sizes.work);
  }

  /// The weights for one call; what an adapter changes is made at `room` [adapted_size()].
  FfnPointers<const S> call_pointers(S* room, State& state) const {
    return this->adapted_pointers(room, state.low_rank);
  }

  /// Throws std::invalid_argument when the expert, called `name...`, was merged or unmerged since that
  /// call, or adapts other matrices.
  template <class... Name>
  void check_state(std::string_view function, const State& state, const Name&... name) const {
    this->check_adapters(function, state.adapters, name...);
  }

  /// Memory for call_gradients of up to `rows` rows.
  void reserve_call(Index rows, State& state, const ExecutorRef& executor) const {
    this->reserve_gradients(rows, state.low_rank, executor);
  }

  /// Adds to the gradients of the adapters.
  void call_gradients(const FfnRows<S>& r, State& state, const ExecutorRef& executor) {
    this->adapter_gradients({r.x.data(), r.x.stride(), r.token},
                            {r.dy.data(), r.dy.stride(), r.token}, r.dgate, r.din, r.hidden,
                            r.count, state.low_rank, executor);
  }
};

/// Adapters as experts: each expert is the one base FFN with adapters of its own (a mixture of LoRAs).
/// The base is held once, frozen, and no parameter of the layer.
template <class F>
using SharedLoraFfn = LoraFfn<F, true>;

/// For add_expert: see draw_adapters.
template <class F, bool IsShared>
void draw_anew(LoraFfn<F, IsShared>& expert, Random& random) {
  expert.draw_adapters(random);
}

MOE_NAMESPACE_END
