// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A low-rank change of one matrix: W [O, I] + scale * B [O, r] A [r, I], and its gradients.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "moe/core/error.hpp"
#include "moe/core/parameter.hpp"
#include "moe/kernel/linear.hpp"

MOE_NAMESPACE_BEGIN

/// Of one adapter (Hu et al. 2021, "LoRA"): W + alpha / rank * B A. A starts random, B at zero.
struct LoraOptions {
  Index rank = 8;       ///< r; 0: no adapter
  double alpha = 16;    ///< the change is scaled by alpha / r
  bool on_gate = true;  ///< of a gated FFN: adapt w_gate,
  bool on_in = true;    ///< w_in,
  bool on_out = true;   ///< w_out

  /// Every field by name: see moe/io/layer_config.hpp.
  template <class F>
  void visit(F&& f) {
    f("rank", rank);
    f("alpha", alpha);
    f("on_gate", on_gate);
    f("on_in", on_in);
    f("on_out", on_out);
  }

  double scale() const { return rank == 0 ? 0 : alpha / static_cast<double>(rank); }

  /// Throws std::invalid_argument unless rank is not negative and alpha finite.
  void check(std::string_view function) const {
    if (rank < 0) detail::fail(function, "rank is ", rank, ", expected at least 0");
    if (!std::isfinite(alpha)) {
      detail::fail(function, "alpha is ", alpha, ", expected a finite value");
    }
  }
};

/// A and B; both empty without an adapter.
template <class S>
struct LowRank {
  Parameter<S> a;  ///< [r, I]
  Parameter<S> b;  ///< [O, r]

  bool empty() const { return a.empty(); }
  Index size() const { return b.value.rows() * a.value.cols(); }  ///< of the matrix it changes

  /// Uniform A in +-1/sqrt(I), zero B: no change at first.
  void start(Index outputs, Index inputs, Index rank, Random& random) {
    a = Parameter<S>(rank, inputs);
    b = Parameter<S>(outputs, rank);
    a.init_uniform(random, inputs);
  }

  void check_shapes(std::string_view function, std::string_view name, Index outputs,
                    Index inputs) const {
    const Index rank = a.value.rows();
    if (empty() && b.empty()) return;
    if (a.value.cols() == inputs && b.value.rows() == outputs && b.value.cols() == rank) return;
    detail::fail(function, "the adapter of ", name, " is [", b.value.rows(), ", ", b.value.cols(),
                 "] [", rank, ", ", a.value.cols(), "], expected [", outputs, ", ", rank, "] [",
                 rank, ", ", inputs, "]");
  }

  template <class F>
  void visit_parameters(const std::string& name, F& f) {
    if (empty()) return;
    f(std::string_view(name + ".a"), a);
    f(std::string_view(name + ".b"), b);
  }
};

template <class S>
struct LowRankScratch {
  Buffer<S> scaled;  ///< [O, r], scale * B
  Buffer<S> narrow;  ///< [n, r]
  Buffer<S> work;    ///< of the products
};

namespace detail {

/// Throws std::invalid_argument when what `name...` says is merged now and was not in the forward, or
/// the other way round.
template <class... Name>
void check_same_side(std::string_view function, bool merged_then, bool merged_now,
                     const Name&... name) {
  if (merged_then == merged_now) return;
  fail(function, name..., " was ", merged_then ? "unmerged" : "merged",
       " since the forward, expected backward before merge and unmerge");
}

/// Values that apply_low_rank needs.
struct LowRankSizes {
  Index scaled = 0, work = 0;

  static LowRankSizes largest(const LowRankSizes& p, const LowRankSizes& q) {
    return {std::max(p.scaled, q.scaled), std::max(p.work, q.work)};
  }
};

template <class S>
LowRankSizes apply_sizes(const LowRank<S>& adapter) {
  if (adapter.empty()) return {};
  return {adapter.b.value.size(),
          scratch_for(kernels<S>(), adapter.b.value.rows(), adapter.a.value.rows()).total()};
}

/// n rows as they lie: row i begins at data + (index ? index[i] : i) * stride.
template <class S>
struct LyingRows {
  const S* data;
  Index stride;
  const std::int32_t* index = nullptr;

  Operand<S> as_rows() const { return {.data = data, .stride = stride, .index = index}; }
  Operand<S> as_columns() const {
    return {.data = data, .stride = stride, .index = index, .k_major = true};
  }
};

/// to [O, I] = w + scale * B A, `to` may be w. Always the same bits for the same values, so a merged
/// matrix computes what the matrix with its adapter computed.
template <class S>
void apply_low_rank(MatrixView<const S> w, const LowRank<S>& adapter, double scale,
                    MatrixView<S> to, LowRankScratch<S>& scratch) {
  const Index outputs = w.rows(), inputs = w.cols(), rank = adapter.a.value.rows();
  if (to.data() != w.data()) {
    for (Index i = 0; i < outputs; ++i) std::copy_n(w.row(i), inputs, to.row(i));
  }
  const MatrixView<S> scaled = scratch.scaled.resize(outputs, rank);
  scaled.eigen() = static_cast<S>(scale) * adapter.b.value;
  PanelSource<S> panels;
  panels.part[0] = {.data = adapter.a.value.data(), .stride = inputs, .k_major = true};
  panels.cols = inputs;
  multiply_store<S>({.data = scaled.data(), .stride = rank}, outputs, rank, panels, nullptr, to,
                    /*accumulate=*/true, scratch.work, {});
}

/// Memory for low_rank_gradients of up to `rows` rows.
template <class S>
void reserve_gradients(const LowRank<S>& adapter, Index rows, LowRankScratch<S>& scratch,
                       const ExecutorRef& executor) {
  if (adapter.empty()) return;
  const Index rank = adapter.a.value.rows(), inputs = adapter.a.value.cols(),
              outputs = adapter.b.value.rows();
  const auto reserve = [&](Index height, Index depth, Index width) {
    const Index threads =
        useful_threads(executor, static_cast<double>(height) * static_cast<double>(depth * width));
    scratch.work.reserve(scratch_for(kernels<S>(), height, depth).total() * threads);
  };
  scratch.narrow.reserve(rows * rank);
  reserve(rows, inputs, rank);
  reserve(outputs, rows, rank);
  reserve(rows, outputs, rank);
  reserve(rank, rows, inputs);
}

/// narrow [n, r] = scale * rows [n, depth] times r columns of `panels`.
template <class S>
MatrixView<S> to_narrow(const LyingRows<S>& rows, Index n, Index depth, PanelSource<S> panels,
                        Index rank, double scale, LowRankScratch<S>& scratch,
                        const ExecutorRef& executor) {
  panels.cols = rank;
  const MatrixView<S> narrow = scratch.narrow.resize(n, rank);
  multiply_store<S>(rows.as_rows(), n, depth, panels, nullptr, narrow, false, scratch.work,
                    executor);
  narrow.eigen() *= static_cast<S>(scale);
  return narrow;
}

/// For z = u (W + scale B A)^T, n rows: dB += scale dz^T (u A^T), dA += scale (dz B)^T u. Costs
/// 2 n r (I + O) multiply-adds where the gradient of W would cost n I O. Frozen sides are skipped.
template <class S>
void low_rank_gradients(LowRank<S>& adapter, double scale, const LyingRows<S>& u,
                        const LyingRows<S>& dz, Index n, LowRankScratch<S>& scratch,
                        const ExecutorRef& executor) {
  if (adapter.empty() || n == 0) return;
  const Index rank = adapter.a.value.rows(), inputs = adapter.a.value.cols(),
              outputs = adapter.b.value.rows();
  PanelSource<S> panels;
  if (adapter.b.trainable) {
    adapter.b.ensure_grad();
    panels.part[0] = {.data = adapter.a.value.data(), .stride = inputs};
    const MatrixView<S> t = to_narrow(u, n, inputs, panels, rank, scale, scratch, executor);
    panels.part[0] = {.data = t.data(), .stride = rank, .k_major = true};
    panels.cols = rank;
    multiply_store<S>(dz.as_columns(), outputs, n, panels, nullptr, adapter.b.grad, true,
                      scratch.work, executor);
  }
  if (adapter.a.trainable) {
    adapter.a.ensure_grad();
    panels.part[0] = {.data = adapter.b.value.data(), .stride = rank, .k_major = true};
    const MatrixView<S> v = to_narrow(dz, n, outputs, panels, rank, scale, scratch, executor);
    panels.part[0] = u.as_columns();
    panels.cols = inputs;
    multiply_store<S>({.data = v.data(), .stride = rank, .k_major = true}, rank, n, panels, nullptr,
                      adapter.a.grad, true, scratch.work, executor);
  }
}

/// A matrix that takes an adapter in and gives it up again.
template <class S>
struct MergedMatrix {
  Matrix<S> kept;  ///< the original, empty when it was not kept

  void merge(Parameter<S>& w, LowRank<S>& adapter, double scale, bool keep) {
    if (adapter.empty()) return;
    LowRankScratch<S> scratch;
    Matrix<S> merged(w.value.rows(), w.value.cols());
    apply_low_rank<S>(w.value, adapter, scale, merged, scratch);
    if (keep) kept = std::move(w.value);
    w.value = std::move(merged);
    adapter.a.grad.resize(0, 0);
    adapter.b.grad.resize(0, 0);
  }
  void unmerge(Parameter<S>& w, const LowRank<S>& adapter, double scale) {
    if (adapter.empty()) return;
    if (kept.size() != 0) {
      w.value = std::exchange(kept, {});
      return;
    }
    LowRankScratch<S> scratch;
    apply_low_rank<S>(w.value, adapter, -scale, w.value, scratch);
  }

  /// See moe/core/state.hpp.
  template <class F>
  void visit_state(std::string_view name, F& f) {
    if (kept.size() != 0) f(name, kept);
  }
};

}  // namespace detail
MOE_NAMESPACE_END
