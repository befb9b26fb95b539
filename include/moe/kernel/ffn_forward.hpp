// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Forward of grouped expert FFNs: x rows -> hidden [N, H] (gather and activation fused into the
// first product), hidden -> y [T, D] (weighted combine fused into the second).
#pragma once

#include "moe/core/buffer.hpp"
#include "moe/core/executor.hpp"
#include "moe/kernel/packed.hpp"
#include "moe/kernel/problem.hpp"
#include "moe/kernel/product.hpp"
#include "moe/kernel/share.hpp"

MOE_NAMESPACE_BEGIN

template <class S>
struct FfnScratch {
  Buffer<S> hidden;  ///< [N, H] activations times the gate weight
  Buffer<S> dot;     ///< [N, panels of H] partial dots of the gate weights' gradients
  Buffer<S> work;    ///< packed operands and blocks, a part per thread
};

/// Pre-activations of a training forward, [N, H] each; `gate` is empty for plain experts. Backward
/// overwrites them.
template <class S>
struct FfnSaved {
  Buffer<S> in;
  Buffer<S> gate;
  FfnShape shape;  ///< of the experts that filled it
};

namespace detail {

/// Rows [begin, begin + count) of the slots that belong to one expert.
template <class S>
struct ExpertRows {
  Index begin, count;
  ExpertRows(const RowGroups<S>& rows, Index e)
      : begin(rows.offset[static_cast<std::size_t>(e)]),
        count(rows.offset[static_cast<std::size_t>(e) + 1] - begin) {}
};

template <class S>
class FfnForward {
 public:
  /// `packed` null: the weights are those of `experts`. `accumulate`: adds to y as it is.
  FfnForward(const FfnShape& shape, const RowGroups<S>& rows,
             std::span<const FfnPointers<const S>> experts, const PackedFfn<S>* packed,
             MatrixView<const S> x, MatrixView<S> y, FfnScratch<S>& scratch, FfnSaved<S>* saved,
             bool accumulate = false)
      : shape_(shape),
        rows_(rows),
        experts_(experts),
        packed_(packed),
        x_(x),
        y_(y),
        scratch_(scratch),
        saved_(saved),
        accumulate_(accumulate),
        table_(kernels<S>()) {}

  void run(const ExecutorRef& executor) {
    const Index d = shape_.model_dim, h = shape_.hidden_dim, n = rows_.count();
    // For all rows at one expert: the next call may bring that.
    sizes_ = scratch_for(table_, rows_.rows_per_expert(x_.rows()), std::max(d, h));
    const Index threads =
        useful_threads(executor, 2.0 * static_cast<double>(n) * static_cast<double>(d * h));
    const Index most = rows_.most();
    scratch_.hidden.reserve(most * h);
    scratch_.hidden.resize(n * h);
    scratch_.work.reserve(
        sizes_.total() *
        useful_threads(executor, 2.0 * static_cast<double>(most) * static_cast<double>(d * h)));
    scratch_.work.resize(sizes_.total() * threads);
    if (saved_ != nullptr) {
      saved_->shape = shape_;
      saved_->in.reserve(most * h);
      saved_->in.resize(n * h);
      if (shape_.gated) {
        saved_->gate.reserve(most * h);
        saved_->gate.resize(n * h);
      }
    }
    run_threads(executor, threads, [&](Index i, Index of) { to_hidden(i, of); });
    run_threads(executor, threads, [&](Index i, Index of) { to_output(i, of); });
  }

 private:
  S* work(Index thread) { return scratch_.work.data() + thread * sizes_.total(); }

  /// A thread takes contiguous panels of the list of all experts' panels: whole experts as far as
  /// possible, so that few rows are packed twice.
  void to_hidden(Index thread, Index threads) {
    const Index panels = hidden_panels();
    Index total = 0;
    for (Index e = 0; e < rows_.num_experts(); ++e) total += panels * cost(e);
    CostShare share(total, thread, threads);
    for (Index e = 0; e < rows_.num_experts(); ++e) {
      if (cost(e) == 0) continue;
      const Range mine = share.next(panels, cost(e));
      if (mine.begin < mine.end) expert_to_hidden(e, mine, work(thread));
    }
  }

  /// Rows, and a constant for the weights that have to be read however few rows there are.
  Index cost(Index e) const {
    const Index count = ExpertRows<S>(rows_, e).count;
    return count == 0 ? 0 : count + 8;
  }

  FfnPointers<const S> expert(Index e) const {
    return packed_ != nullptr ? packed_->biases(e) : experts_[static_cast<std::size_t>(e)];
  }
  PanelSource<S> output_weights(Index e) const {
    if (packed_ != nullptr) return packed_->output_source(e);
    PanelSource<S> b;
    b.cols = shape_.model_dim;
    b.part[0] = {.data = experts_[static_cast<std::size_t>(e)].w_out, .stride = shape_.hidden_dim};
    return b;
  }
  PanelSource<S> hidden_weights(Index e) const {
    if (packed_ != nullptr) return packed_->hidden_source(e);
    const auto& w = experts_[static_cast<std::size_t>(e)];
    const Index d = shape_.model_dim;
    PanelSource<S> b;
    b.part[0] = {.data = shape_.gated ? w.w_gate : w.w_in, .stride = d};
    b.part[1] = {.data = w.w_in, .stride = d};
    b.gated = shape_.gated;
    b.cols = shape_.hidden_dim;
    return b;
  }
  Index hidden_panels() const {
    PanelSource<S> b;
    b.gated = shape_.gated;
    b.cols = shape_.hidden_dim;
    return b.panels();
  }

  void expert_to_hidden(Index e, Range panels, S* work) {
    const ExpertRows<S> slots(rows_, e);
    const auto w = expert(e);
    const Index h = shape_.hidden_dim;
    Product<S> p{
        {.data = x_.data(), .stride = x_.stride(), .index = rows_.token.data() + slots.begin},
        slots.count,
        shape_.model_dim,
        hidden_weights(e),
        panels.begin,
        panels.end};
    const Index width = p.b.cols_per_panel();
    const auto at = [](auto* base, Index i) { return base == nullptr ? nullptr : base + i; };
    Multiply<S>(table_, p, work, sizes_).run([&](const Block<S>& c) {
      const Index col = c.panel * width, first = slots.begin + c.row;
      table_.activate({c.c, c.ldc, c.rows, std::min(c.panels * width, h - col), shape_.gated,
                       shape_.activation, at(w.b_gate, col), at(w.b_in, col),
                       rows_.weight.data() + first, scratch_.hidden.data() + first * h + col,
                       saved_ && shape_.gated ? saved_->gate.data() + first * h + col : nullptr,
                       saved_ ? saved_->in.data() + first * h + col : nullptr, h, shape_.clamped});
    });
  }

  /// A thread owns columns of y and adds every expert's part to them, experts ascending: no two
  /// threads meet, no slot buffer, and the same order of additions whatever the number of threads.
  void to_output(Index thread, Index threads) {
    const Index d = shape_.model_dim, h = shape_.hidden_dim;
    const Index panels = (d + kLanes<S> - 1) / kLanes<S>;
    const Range mine = part_of(panels, thread, threads);
    const Index col = mine.begin * kLanes<S>;
    const Index cols = std::min(d, mine.end * kLanes<S>) - col;
    if (cols <= 0) return;
    for (Index t = 0; t < y_.rows() && !accumulate_; ++t) std::fill_n(y_.row(t) + col, cols, S(0));
    for (Index e = 0; e < rows_.num_experts(); ++e) {
      const ExpertRows<S> slots(rows_, e);
      if (slots.count == 0) continue;
      const auto w = expert(e);
      const Product<S> p{{.data = scratch_.hidden.data() + slots.begin * h, .stride = h},
                         slots.count,
                         h,
                         output_weights(e),
                         mine.begin,
                         mine.end};
      Multiply<S>(table_, p, work(thread), sizes_).run([&](const Block<S>& c) {
        add_to_output(c, slots.begin + c.row, w.b_out);
      });
    }
  }

  void add_to_output(const Block<S>& c, Index slot, const S* bias) {
    const Index col = c.panel * kLanes<S>;
    table_.store({c.c, c.ldc, c.rows, std::min(c.panels * kLanes<S>, shape_.model_dim - col),
                  rows_.token.data() + slot, rows_.weight.data() + slot,
                  bias != nullptr ? bias + col : nullptr, y_.data() + col, y_.stride(), true});
  }

  const FfnShape& shape_;
  const RowGroups<S>& rows_;
  std::span<const FfnPointers<const S>> experts_;
  const PackedFfn<S>* packed_;
  MatrixView<const S> x_;
  MatrixView<S> y_;
  FfnScratch<S>& scratch_;
  FfnSaved<S>* saved_;
  bool accumulate_;
  const KernelTable<S>& table_;
  ProductScratch<S> sizes_;
};

}  // namespace detail
MOE_NAMESPACE_END
