// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Backward of grouped expert FFNs. Of the forward only x and the pre-activations are kept; per slot
// s of token t with gate weight w, dO = dy[t] and a = act(z):
//   a' = W_out^T dO      dw = <a', a> + <dO, b_out>      dz = w a' act'(z)
//   dW_out += dO (w a)^T    dW_in += dz x[t]^T    dx[t] += W_in^T dz    (gated: both halves of dz)
#pragma once

#include "moe/kernel/ffn_forward.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

template <class S>
class FfnBackward {
 public:
  FfnBackward(const FfnShape& shape, const RowGroups<S>& rows,
              std::span<const FfnPointers<const S>> experts, MatrixView<const S> x,
              FfnSaved<S>& saved, MatrixView<const S> dy, MatrixView<S> dx,
              std::span<const FfnPointers<S>> grads, std::span<S> dweight, FfnScratch<S>& scratch)
      : shape_(shape),
        rows_(rows),
        experts_(experts),
        x_(x),
        saved_(saved),
        dy_(dy),
        dx_(dx),
        grads_(grads),
        dweight_(dweight),
        scratch_(scratch),
        table_(kernels<S>()) {}

  void run(const ExecutorRef& executor) {
    const Index d = shape_.model_dim, h = shape_.hidden_dim, n = rows_.count();
    const Index tokens = rows_.rows_per_expert(x_.rows()), most = rows_.most();
    sizes_ = largest(scratch_for(table_, tokens, std::max(d, 2 * h)),
                     scratch_for(table_, std::max(d, h), tokens));
    const Index threads =
        useful_threads(executor, 4.0 * static_cast<double>(n) * static_cast<double>(d * h));
    scratch_.work.reserve(
        sizes_.total() *
        useful_threads(executor, 4.0 * static_cast<double>(most) * static_cast<double>(d * h)));
    scratch_.hidden.reserve(most * h);
    scratch_.dot.reserve(most * hidden_panels());
    if (n == 0) return;
    scratch_.hidden.resize(n * h);
    scratch_.dot.resize(n * hidden_panels());
    scratch_.work.resize(sizes_.total() * threads);
    run_threads(executor, threads, [&](Index i, Index of) { to_preactivations(i, of); });
    run_threads(executor, threads, [&](Index i, Index of) {
      gate_gradients(i, of);
      bias_gradients(i, of);
      weight_gradients(i, of);
      input_gradients(i, of);
    });
  }

 private:
  static ProductScratch<S> largest(const ProductScratch<S>& p, const ProductScratch<S>& q) {
    return {std::max(p.a, q.a), std::max(p.b, q.b), std::max(p.c, q.c)};
  }
  S* work(Index thread) { return scratch_.work.data() + thread * sizes_.total(); }
  Index hidden_panels() const { return (shape_.hidden_dim + kLanes<S> - 1) / kLanes<S>; }
  const std::int32_t* tokens(const ExpertRows<S>& slots) const {
    return rows_.token.data() + slots.begin;
  }

  /// a' and its epilogue: dz over z, w a to scratch.hidden, partial <a', a> to scratch.dot.
  void to_preactivations(Index thread, Index threads) {
    const Index panels = hidden_panels();
    CostShare share(panels * rows_.count(), thread, threads);
    for (Index e = 0; e < rows_.num_experts(); ++e) {
      const ExpertRows<S> slots(rows_, e);
      if (slots.count == 0) continue;
      const Range mine = share.next(panels, slots.count);
      if (mine.begin < mine.end) expert_preactivations(e, slots, mine, work(thread));
    }
  }

  void expert_preactivations(Index e, const ExpertRows<S>& slots, Range panels, S* work) {
    const Index h = shape_.hidden_dim;
    Product<S> p;
    p.a = {.data = dy_.data(), .stride = dy_.stride(), .index = tokens(slots)};
    p.rows = slots.count;
    p.depth = shape_.model_dim;
    p.b.part[0] = {
        .data = experts_[static_cast<std::size_t>(e)].w_out, .stride = h, .k_major = true};
    p.b.cols = h;
    p.panel_begin = panels.begin;
    p.panel_end = panels.end;
    Multiply<S>(table_, p, work, sizes_).run([&](const Block<S>& c) {
      const Index col = c.panel * kLanes<S>, slot = slots.begin + c.row;
      const Index at = slot * h + col;
      table_.activate_backward({c.c, c.ldc, c.rows, std::min(c.panels * kLanes<S>, h - col),
                                shape_.gated, shape_.activation, rows_.weight.data() + slot,
                                shape_.gated ? saved_.gate.data() + at : nullptr,
                                saved_.in.data() + at, scratch_.hidden.data() + at, h,
                                scratch_.dot.data() + slot * hidden_panels() + c.panel,
                                hidden_panels(), shape_.clamped});
    });
  }

  /// dweight: the partial dots in panel order, then the bias's share.
  void gate_gradients(Index thread, Index threads) {
    const Range mine = part_of(rows_.count(), thread, threads);
    for (Index e = 0; e < rows_.num_experts(); ++e) {
      const ExpertRows<S> slots(rows_, e);
      const S* bias = experts_[static_cast<std::size_t>(e)].b_out;
      const Index end = std::min(mine.end, slots.begin + slots.count);
      for (Index s = std::max(mine.begin, slots.begin); s < end; ++s) {
        S sum = 0;
        for (Index p = 0; p < hidden_panels(); ++p) sum += scratch_.dot[s * hidden_panels() + p];
        const Index t = rows_.token[static_cast<std::size_t>(s)];
        if (bias != nullptr) sum += table_.dot(dy_.row(t), bias, shape_.model_dim);
        dweight_[static_cast<std::size_t>(s)] = sum;
      }
    }
  }

  void bias_gradients(Index thread, Index threads) {
    const Range hidden = part_of(shape_.hidden_dim, thread, threads, kLanes<S>);
    const Range model = part_of(shape_.model_dim, thread, threads, kLanes<S>);
    for (Index e = 0; e < rows_.num_experts(); ++e) {
      const ExpertRows<S> slots(rows_, e);
      if (slots.count == 0) continue;
      const auto& g = grads_[static_cast<std::size_t>(e)];
      const auto hidden_sum = [&](const Buffer<S>& dz, S* sum) {
        const Index h = shape_.hidden_dim;
        table_.column_sum({dz.data() + slots.begin * h + hidden.begin, h, nullptr, nullptr,
                           slots.count, hidden.end - hidden.begin, sum + hidden.begin});
      };
      if (g.b_in != nullptr) hidden_sum(saved_.in, g.b_in);
      if (g.b_gate != nullptr && shape_.gated) hidden_sum(saved_.gate, g.b_gate);
      if (g.b_out != nullptr) {
        table_.column_sum({dy_.data() + model.begin, dy_.stride(), tokens(slots),
                           rows_.weight.data() + slots.begin, slots.count, model.end - model.begin,
                           g.b_out + model.begin});
      }
    }
  }

  /// Products over slots; a thread owns rows of the gradient matrices.
  void weight_gradients(Index thread, Index threads) {
    const Index d = shape_.model_dim, h = shape_.hidden_dim;
    const Index d_tiles = (d + table_.mr - 1) / table_.mr,
                h_tiles = (h + table_.mr - 1) / table_.mr;
    const Index total = rows_.count() * (d_tiles * h + (shape_.gated ? 2 : 1) * h_tiles * d);
    CostShare share(total, thread, threads);
    for (Index e = 0; e < rows_.num_experts(); ++e) {
      const ExpertRows<S> slots(rows_, e);
      if (slots.count == 0) continue;
      const auto& g = grads_[static_cast<std::size_t>(e)];
      const Index first = slots.begin * h;
      const Operand<S> x{
          .data = x_.data(), .stride = x_.stride(), .index = tokens(slots), .k_major = true};
      const Operand<S> out{
          .data = dy_.data(), .stride = dy_.stride(), .index = tokens(slots), .k_major = true};
      const Operand<S> hidden{.data = scratch_.hidden.data() + first, .stride = h, .k_major = true};
      const Operand<S> din{.data = saved_.in.data() + first, .stride = h, .k_major = true};
      outer_product(out, d, hidden, h, slots.count, share.next(d_tiles, slots.count * h), g.w_out,
                    thread);
      outer_product(din, h, x, d, slots.count, share.next(h_tiles, slots.count * d), g.w_in,
                    thread);
      if (!shape_.gated) continue;
      const Operand<S> dgate{.data = saved_.gate.data() + first, .stride = h, .k_major = true};
      outer_product(dgate, h, x, d, slots.count, share.next(h_tiles, slots.count * d), g.w_gate,
                    thread);
    }
  }

  /// gradient [rows, cols] += a^T b over `depth` slots, for the row tiles in `tiles`.
  void outer_product(Operand<S> a, Index rows, const Operand<S>& b, Index cols, Index depth,
                     Range tiles, S* gradient, Index thread) {
    const Index begin = tiles.begin * table_.mr, end = std::min(rows, tiles.end * table_.mr);
    if (gradient == nullptr || begin >= end) return;
    a.data += begin;
    Product<S> p;
    p.a = a;
    p.rows = end - begin;
    p.depth = depth;
    p.b.part[0] = b;
    p.b.cols = cols;
    p.panel_end = p.b.panels();
    Multiply<S>(table_, p, work(thread), sizes_).run([&](const Block<S>& c) {
      const Index col = c.panel * kLanes<S>;
      table_.store({c.c, c.ldc, c.rows, std::min(c.panels * kLanes<S>, cols - col), nullptr,
                    nullptr, nullptr, gradient + (begin + c.row) * cols + col, cols, true});
    });
  }

  /// dx by column stripes, as the forward makes y; the contraction runs over dgate, then din.
  void input_gradients(Index thread, Index threads) {
    if (dx_.empty()) return;
    const Index d = shape_.model_dim, h = shape_.hidden_dim;
    const Range mine = part_of((d + kLanes<S> - 1) / kLanes<S>, thread, threads);
    for (Index e = 0; e < rows_.num_experts(); ++e) {
      const ExpertRows<S> slots(rows_, e);
      if (slots.count == 0) continue;
      const auto& w = experts_[static_cast<std::size_t>(e)];
      const S* din = saved_.in.data() + slots.begin * h;
      Product<S> p;
      p.a = {.data = din, .stride = h};
      p.b.part[0] = {.data = w.w_in, .stride = d, .k_major = true};
      if (shape_.gated) {
        p.a = {.data = saved_.gate.data() + slots.begin * h, .stride = h, .tail = din, .split = h};
        p.b.part[0] = {.data = w.w_gate, .stride = d, .k_major = true, .tail = w.w_in, .split = h};
      }
      p.rows = slots.count;
      p.depth = shape_.gated ? 2 * h : h;
      p.b.cols = d;
      p.panel_begin = mine.begin;
      p.panel_end = mine.end;
      Multiply<S>(table_, p, work(thread), sizes_).run([&](const Block<S>& c) {
        const Index col = c.panel * kLanes<S>;
        table_.store({c.c, c.ldc, c.rows, std::min(c.panels * kLanes<S>, d - col),
                      tokens(slots) + c.row, nullptr, nullptr, dx_.data() + col, dx_.stride(),
                      true});
      });
    }
  }

  const FfnShape& shape_;
  const RowGroups<S>& rows_;
  std::span<const FfnPointers<const S>> experts_;
  MatrixView<const S> x_;
  FfnSaved<S>& saved_;
  MatrixView<const S> dy_;
  MatrixView<S> dx_;
  std::span<const FfnPointers<S>> grads_;
  std::span<S> dweight_;
  FfnScratch<S>& scratch_;
  const KernelTable<S>& table_;
  ProductScratch<S> sizes_;
};

}  // namespace detail
MOE_NAMESPACE_END
