// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The low-rank adapters of one FFN, a matrix each: w_gate, w_in [H, D], w_out [D, H].
#pragma once

#include <string_view>
#include <utility>

#include "moe/kernel/ffn.hpp"
#include "moe/train/lora/low_rank.hpp"

MOE_NAMESPACE_BEGIN

template <class S>
struct FfnAdapters {
  LowRank<S> gate;  ///< of w_gate; empty when plain or not adapted
  LowRank<S> in;    ///< of w_in
  LowRank<S> out;   ///< of w_out

  bool empty() const { return gate.empty() && in.empty() && out.empty(); }

  /// Which matrices they change, a bit each.
  std::uint8_t matrices() const {
    return static_cast<std::uint8_t>((gate.empty() ? 0 : 1) | (in.empty() ? 0 : 2) |
                                     (out.empty() ? 0 : 4));
  }

  /// Values of the matrices that they change.
  Index size() const { return gate.size() + in.size() + out.size(); }

  /// Fresh ones, where the options want them.
  void start(const FfnShape& shape, const LoraOptions& options, Random& random) {
    if (options.rank == 0) return;
    const Index d = shape.model_dim, h = shape.hidden_dim;
    if (shape.gated && options.on_gate) gate.start(h, d, options.rank, random);
    if (options.on_in) in.start(h, d, options.rank, random);
    if (options.on_out) out.start(d, h, options.rank, random);
  }

  void check_shapes(std::string_view function, const FfnShape& expected) const {
    gate.check_shapes(function, "w_gate", expected.hidden_dim, expected.model_dim);
    in.check_shapes(function, "w_in", expected.hidden_dim, expected.model_dim);
    out.check_shapes(function, "w_out", expected.model_dim, expected.hidden_dim);
  }

  /// What `apply` needs of its scratch.
  detail::LowRankSizes scratch_sizes() const {
    using Sizes = detail::LowRankSizes;
    return Sizes::largest(detail::apply_sizes(gate),
                          Sizes::largest(detail::apply_sizes(in), detail::apply_sizes(out)));
  }

  /// Writes W + scale B A of what they change at `room` [size()], one matrix after the other.
  void apply(const FfnPointers<const S>& base, double scale, S* room,
             LowRankScratch<S>& scratch) const {
    const auto make = [&](const LowRank<S>& adapter, const S* w) {
      if (adapter.empty()) return;
      const Index rows = adapter.b.value.rows(), cols = adapter.a.value.cols();
      detail::apply_low_rank<S>(MatrixView<const S>(w, rows, cols), adapter, scale,
                                MatrixView<S>(room, rows, cols), scratch);
      room += adapter.size();
    };
    make(gate, base.w_gate);
    make(in, base.w_in);
    make(out, base.w_out);
  }

  /// The weights with what `apply` wrote at `room`.
  FfnPointers<const S> applied(FfnPointers<const S> base, const S* room) const {
    const auto place = [&](const LowRank<S>& adapter, const S*& pointer) {
      if (!adapter.empty()) pointer = std::exchange(room, room + adapter.size());
    };
    place(gate, base.w_gate);
    place(in, base.w_in);
    place(out, base.w_out);
    return base;
  }

  /// Gradients of A and B from one backward of the FFN over n rows: x and dy as they lie, and, by
  /// row, its gradients of the pre-activations and its weighted activations [n, H].
  void add_gradients(double scale, const detail::LyingRows<S>& x, const detail::LyingRows<S>& dy,
                     const S* dgate, const S* din, const S* hidden, Index hidden_dim, Index n,
                     LowRankScratch<S>& scratch, const ExecutorRef& executor) {
    detail::low_rank_gradients<S>(gate, scale, x, {dgate, hidden_dim}, n, scratch, executor);
    detail::low_rank_gradients<S>(in, scale, x, {din, hidden_dim}, n, scratch, executor);
    detail::low_rank_gradients<S>(out, scale, {hidden, hidden_dim}, dy, n, scratch, executor);
  }

  /// Memory for add_gradients of up to `rows` rows.
  void reserve(Index rows, LowRankScratch<S>& scratch, const ExecutorRef& executor) const {
    for (const LowRank<S>* adapter : {&gate, &in, &out}) {
      detail::reserve_gradients(*adapter, rows, scratch, executor);
    }
  }

  /// "lora.w_gate.a", "lora.w_gate.b" and so on, of those that are there.
  template <class F>
  void visit(F& f) {
    gate.visit_parameters("lora.w_gate", f);
    in.visit_parameters("lora.w_in", f);
    out.visit_parameters("lora.w_out", f);
  }

  /// Random A, zero B.
  void draw_anew(Random& random) {
    for (auto* adapter : {&gate, &in, &out}) {
      if (adapter->empty()) continue;
      adapter->a.init_uniform(random, adapter->a.value.cols());
      adapter->b.value.setZero();
    }
  }
};

namespace detail {

/// The weights of an FFN that take its adapters in and give them up again.
template <class S>
struct MergedFfn {
  MergedMatrix<S> gate, in, out;

  /// True when no original is kept.
  bool empty() const { return gate.kept.size() + in.kept.size() + out.kept.size() == 0; }

  /// See moe/core/state.hpp.
  template <class F>
  void visit_state(F& f) {
    gate.visit_state("lora.w_gate.original", f);
    in.visit_state("lora.w_in.original", f);
    out.visit_state("lora.w_out.original", f);
  }

  template <class Base>
  void merge(Base& base, FfnAdapters<S>& adapters, double scale, bool keep) {
    gate.merge(base.w_gate, adapters.gate, scale, keep);
    in.merge(base.w_in, adapters.in, scale, keep);
    out.merge(base.w_out, adapters.out, scale, keep);
  }
  template <class Base>
  void unmerge(Base& base, const FfnAdapters<S>& adapters, double scale) {
    gate.unmerge(base.w_gate, adapters.gate, scale);
    in.unmerge(base.w_in, adapters.in, scale);
    out.unmerge(base.w_out, adapters.out, scale);
  }
};

}  // namespace detail
MOE_NAMESPACE_END
