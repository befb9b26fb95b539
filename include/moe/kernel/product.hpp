// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The blocked product behind every kernel: c [rows, cols] = a [rows, depth] b [cols, depth]^T,
// block by block into a cache-sized scratch, with an epilogue per block.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>

#include "moe/kernel/kernels.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// A matrix [outer, depth] as it lies in memory. Row-wise: element (i, k) = data[row(i) * stride +
/// k]; k-major: data[row(k) * stride + i]. `row` goes through `index` unless that is null. With
/// `tail`, the k from `split` on are those of a second matrix of the same layout, counted from 0.
template <class S>
struct Operand {
  const S* data = nullptr;
  Index stride = 0;
  const std::int32_t* index = nullptr;
  bool k_major = false;
  const S* tail = nullptr;
  Index split = std::numeric_limits<Index>::max();
};

/// The weight side of a product: columns of `part[0]`, or of both parts interleaved by half panels.
/// `packed`, when set, holds all panels already, each [depth][kLanes].
template <class S>
struct PanelSource {
  Operand<S> part[2];
  bool gated = false;
  Index cols = 0;
  const S* packed = nullptr;

  Index cols_per_panel() const { return gated ? kHalf<S> : kLanes<S>; }
  Index panels() const { return (cols + cols_per_panel() - 1) / cols_per_panel(); }
};

/// A finished block of c: rows [row, row + rows) and the columns of `panels` panels from `panel`
/// on.
template <class S>
struct Block {
  Index row, rows;
  Index panel, panels;
  const S* c;
  Index ldc;
};

/// Reference to the function that consumes finished blocks.
template <class S>
class EpilogueRef {
 public:
  template <class F>
  EpilogueRef(const F& f)  // NOLINT(google-explicit-constructor)
      : object_(std::addressof(f)),
        call_([](const void* object, const Block<S>& b) { (*static_cast<const F*>(object))(b); }) {}
  void operator()(const Block<S>& block) const { call_(object_, block); }

 private:
  const void* object_;
  void (*call_)(const void*, const Block<S>&);
};

/// One product: rows of `a` times panels [panel_begin, panel_end) of `b`.
template <class S>
struct Product {
  Operand<S> a;
  Index rows = 0;
  Index depth = 0;
  PanelSource<S> b;
  Index panel_begin = 0;
  Index panel_end = 0;
};

/// Packs elements (first + i, k0 + k), i < count, k < kc, to dst[k * dst_stride + i].
template <class S>
void pack(const KernelTable<S>& table, const Operand<S>& m, Index first, Index count, Index k0,
          Index kc, S* dst, Index dst_stride, Index width, Index ahead = 0) {
  const Index head = std::clamp<Index>(m.split - k0, 0, kc);
  PackArgs<S> args{m.data, m.index, m.stride,   first, count, k0,
                   head,   dst,     dst_stride, width, ahead};
  const auto run = m.k_major ? table.pack_k_major : table.pack_rows;
  if (head > 0) run(args);
  if (head < kc) {
    args.src = m.tail;
    args.k0 = k0 + head - m.split;
    args.kc = kc - head;
    args.dst = dst + head * dst_stride;
    run(args);
  }
}

/// Sizes of one thread's scratch, in values.
template <class S>
struct ProductScratch {
  Index a = 0, b = 0, c = 0;
  Index total() const { return a + b + c; }
};

template <class S>
Index block_rows(const KernelTable<S>& table, Index rows) {
  const Index blocks = (rows + table.mc - 1) / table.mc;
  return blocks == 0 ? 0 : (rows + blocks - 1) / blocks;
}

/// Row distance of the c scratch; a cache line more than its columns, against aliasing.
template <class S>
Index scratch_stride(const KernelTable<S>& table) {
  return (table.nc + 1) * kLanes<S>;
}

/// What multiply needs for products of at most `rows` x `depth`.
template <class S>
ProductScratch<S> scratch_for(const KernelTable<S>& table, Index rows, Index depth) {
  const auto align = [](Index n) { return (n + kLanes<S> - 1) / kLanes<S> * kLanes<S>; };
  const Index block = block_rows(table, rows);
  return {align(block * depth + kLanes<S>), 4 * table.kc * kLanes<S>,
          align(block * scratch_stride(table))};
}

/// Runs one product on one thread with the scratch `work`.
template <class S>
class Multiply {
 public:
  Multiply(const KernelTable<S>& table, const Product<S>& p, S* work,
           const ProductScratch<S>& sizes)
      : table_(table),
        p_(p),
        a_pack_(work),
        b_pack_(work + sizes.a),
        c_(b_pack_ + sizes.b),
        ldc_(scratch_stride(table)) {}

  void run(EpilogueRef<S> epilogue) {
    if (p_.rows == 0 || p_.panel_begin >= p_.panel_end) return;
    const Index step = block_rows(table_, p_.rows);
    for (row_ = 0; row_ < p_.rows; row_ += step) {
      rows_ = std::min(step, p_.rows - row_);
      pack_tokens();
      choose_slice();
      for (Index g = p_.panel_begin; g < p_.panel_end; g += table_.nc) {
        const Index panels = std::min(table_.nc, p_.panel_end - g);
        multiply_group(g, panels);
        epilogue(Block<S>{row_, rows_, g, panels, c_, ldc_});
      }
    }
  }

 private:
  /// The block's rows as balanced tiles, each [depth][tile rows]. One row needs no packing.
  void pack_tokens() {
    const Operand<S>& a = p_.a;
    if (rows_ == 1 && !a.k_major && a.tail == nullptr) {
      a_ = a.data + (a.index != nullptr ? static_cast<Index>(a.index[row_]) : row_) * a.stride;
      return;
    }
    const Index count = (rows_ + table_.mr - 1) / table_.mr;
    Index row = 0;
    for (Index i = 0; i < count; ++i) {
      const Index rows = rows_ / count + (i < rows_ % count ? 1 : 0);
      pack(table_, a, row_ + row, rows, 0, p_.depth, a_pack_ + row * p_.depth, rows, rows);
      row += rows;
    }
    a_ = a_pack_;
  }

  /// Few rows: several panels per call, so that there are chains enough, and packed weights in one
  /// linear run. Many rows: slices that stay in L1 while all tiles pass.
  void choose_slice() {
    const bool one_tile = rows_ <= table_.mr;
    panels_per_call_ = !one_tile || rows_ > 3 ? 1 : rows_ == 1 ? 4 : 2;
    slice_ = table_.kc;
    if (p_.b.packed != nullptr) {
      if (one_tile) slice_ = std::max<Index>(p_.depth, 1);
    } else {
      slice_ /= panels_per_call_;
    }
  }

  void multiply_group(Index group, Index panels) {
    for (Index k0 = 0; k0 == 0 || k0 < p_.depth; k0 += slice_) {
      const Index kc = std::min(slice_, p_.depth - k0);
      TileArgs<S> args{a_, p_.depth, k0, kc, rows_, nullptr, 0, 0, nullptr, ldc_, k0 == 0, {}};
      const Index step = rows_ <= table_.mr && p_.b.packed != nullptr ? panels : panels_per_call_;
      for (Index q = 0; q < panels; q += step) {
        args.panels = std::min(step, panels - q);
        args.c = c_ + q * kLanes<S>;
        if (p_.b.packed != nullptr) {
          args.b_stride = p_.depth * kLanes<S>;
          args.b = p_.b.packed + (group + q) * args.b_stride + k0 * kLanes<S>;
        } else {
          args.b_stride = kc * kLanes<S>;
          args.b = b_pack_;
          for (Index j = 0; j < args.panels; ++j) {
            pack_panel(group + q + j, k0, kc, b_pack_ + j * args.b_stride);
          }
        }
        if (rows_ > table_.mr) prefetch_next(args, group, group + q + 1, group + panels);
        table_.tiles(args);
      }
    }
  }

  void pack_panel(Index panel, Index k0, Index kc, S* dst) {
    for (Index half = 0; half < 2; ++half) {
      const Operand<S>& m = p_.b.part[p_.b.gated ? half : 0];
      const Index first = p_.b.gated ? panel * kHalf<S> : panel * kLanes<S> + half * kHalf<S>;
      const Index count = std::clamp<Index>(p_.b.cols - first, 0, kHalf<S>);
      S* out = dst + half * kHalf<S>;
      if (count > 0) {
        const Index ahead = rows_ <= table_.mr ? next_strip(panel, half, k0) : 0;
        pack(table_, m, first, count, k0, kc, out, kLanes<S>, kHalf<S>, ahead);
      } else {
        for (Index k = 0; k < kc; ++k) std::fill_n(out + k * kLanes<S>, kHalf<S>, S(0));
      }
    }
  }

  /// Bytes from this strip of weights to the one packed after it, so that it can be prefetched: the
  /// strips are too short for the hardware to notice.
  Index next_strip(Index panel, Index half, Index k0) const {
    const Index group = p_.panel_begin + (panel - p_.panel_begin) / table_.nc * table_.nc;
    const Index end = std::min(group + table_.nc, p_.panel_end);
    const std::uintptr_t here = strip_address(panel, half, k0);
    std::uintptr_t next = 0;
    if (half == 0)
      next = strip_address(panel, 1, k0);
    else if (panel + 1 < end)
      next = strip_address(panel + 1, 0, k0);
    else if (k0 + slice_ < p_.depth)
      next = strip_address(group, 0, k0 + slice_);
    else
      next = strip_address(end, 0, 0);
    return here == 0 || next == 0 ? 0 : static_cast<Index>(next - here);
  }
  std::uintptr_t strip_address(Index panel, Index half, Index k0) const {
    const Operand<S>& m = p_.b.part[p_.b.gated ? half : 0];
    const Index first = p_.b.gated ? panel * kHalf<S> : panel * kLanes<S> + half * kHalf<S>;
    if (m.k_major || m.index != nullptr || first >= p_.b.cols) return 0;
    return reinterpret_cast<std::uintptr_t>(m.data + first * m.stride + k0);
  }

  /// Asks for the slice after this one while its tiles run: memory and arithmetic then overlap.
  void prefetch_next(TileArgs<S>& args, Index group, Index panel, Index end) const {
    Index k0 = args.k0;
    if (panel >= end) {
      panel = group;
      k0 += slice_;
      if (k0 >= p_.depth) {
        panel = end;
        k0 = 0;
      }
    }
    if (panel >= p_.panel_end) return;
    const Index kc = std::min(slice_, p_.depth - k0);
    if (p_.b.packed != nullptr) {
      args.next[0] = {p_.b.packed + (panel * p_.depth + k0) * kLanes<S>, 0, 1,
                      kc * kLanes<S> * static_cast<Index>(sizeof(S))};
      return;
    }
    for (Index half = 0; half < (p_.b.gated ? 2 : 1); ++half) {
      const Operand<S>& m = p_.b.part[half];
      if (m.index != nullptr || k0 + kc > m.split) continue;
      const Index width = p_.b.cols_per_panel();
      const Index first = panel * width;
      const Index count = std::min(width, p_.b.cols - first);
      const auto bytes = [](Index n) { return n * static_cast<Index>(sizeof(S)); };
      if (m.k_major) {
        args.next[half] = {m.data + k0 * m.stride + first, bytes(m.stride), kc, bytes(count)};
      } else {
        args.next[half] = {m.data + first * m.stride + k0, bytes(m.stride), count, bytes(kc)};
      }
    }
  }

  const KernelTable<S>& table_;
  const Product<S>& p_;
  S* a_pack_;
  S* b_pack_;
  S* c_;
  Index ldc_;
  const S* a_ = nullptr;
  Index row_ = 0, rows_ = 0;
  Index slice_ = 0, panels_per_call_ = 1;
};

}  // namespace detail
MOE_NAMESPACE_END
