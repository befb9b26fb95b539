// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The blocked product behind every kernel: c [rows, cols] = a [rows, depth] b [cols, depth]^T,
// block by block into a cache-sized scratch, with an epilogue per block.
#pragma once

#include <algorithm>
#include <memory>

#include "moe/kernel/operand.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

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

/// Sizes of one thread's scratch, in values.
template <class S>
struct ProductScratch {
  Index a = 0, b = 0, c = 0;
  Index total() const { return a + b + c; }
};

/// Rows of a block at most: a slice of its tiles shall stay in L2. Shallow products take twice as many,
/// since each block packs or reads all weights again.
template <class S>
Index most_block_rows(const KernelTable<S>& table, Index depth) {
  return 2 * depth <= table.kc ? 2 * table.mc : table.mc;
}

template <class S>
Index block_rows(const KernelTable<S>& table, Index rows, Index depth) {
  const Index most = most_block_rows(table, depth);
  const Index blocks = (rows + most - 1) / most;
  return blocks == 0 ? 0 : (rows + blocks - 1) / blocks;
}

/// Row distance of the c scratch; a cache line more than its columns, against aliasing.
template <class S>
Index scratch_stride(const KernelTable<S>& table) {
  return (table.nc + 1) * kLanes<S>;
}

/// What multiply needs for products of at most `rows` x `depth`. Fewer rows can make larger blocks
/// (mc rows are one block, mc + 1 two halves), and less depth too, so the bound is not that of the
/// largest product.
template <class S>
ProductScratch<S> scratch_for(const KernelTable<S>& table, Index rows, Index depth) {
  const auto align = [](Index n) { return (n + kLanes<S> - 1) / kLanes<S> * kLanes<S>; };
  const Index deep = std::min(rows, table.mc), shallow = std::min(rows, 2 * table.mc);
  const Index a = std::max(deep * depth, shallow * std::min(depth, table.kc / 2));
  return {align(a + kLanes<S>), table.kc * kLanes<S>, align(shallow * scratch_stride(table))};
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
        ldc_(scratch_stride(table)),
        pairs_(p.b.bf16 && table.tiles_bf16 != nullptr),
        direct_(p.b.packed != nullptr && (!p.b.bf16 || pairs_)),
        groups_(pairs_ ? (p.depth + 1) / 2 : p.depth) {}

  void run(EpilogueRef<S> epilogue) {
    if (p_.rows == 0 || p_.panel_begin >= p_.panel_end) return;
    const Index step = block_rows(table_, p_.rows, p_.depth);
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
  /// The block's rows as balanced tiles, each [groups][tile rows]. One row needs no packing.
  void pack_tokens() {
    const Operand<S>& a = p_.a;
    a_ = a_pack_;
    if (rows_ == 1 && !a.k_major && a.tail == nullptr) {
      const S* row =
          a.data + (a.index != nullptr ? static_cast<Index>(a.index[row_]) : row_) * a.stride;
      if (pairs_)
        table_.to_bf16(row, p_.depth, a_pack_);
      else
        a_ = row;
      return;
    }
    const Index count = (rows_ + table_.mr - 1) / table_.mr;
    Index row = 0;
    for (Index i = 0; i < count; ++i) {
      const Index rows = rows_ / count + (i < rows_ % count ? 1 : 0);
      S* tile = a_pack_ + row * groups_;
      if (pairs_)
        pack_pairs(row_ + row, rows, tile);
      else
        pack(table_, a, row_ + row, rows, 0, p_.depth, tile, rows, rows);
      row += rows;
    }
  }

  /// A tile of bfloat16 pairs: the rows are converted piece by piece, then packed like floats.
  void pack_pairs(Index first, Index rows, S* tile) {
    constexpr Index kPiece = 512;
    Operand<S> piece{.data = b_pack_, .stride = kPiece / 2};
    for (Index k = 0; k < p_.depth; k += kPiece) {
      const Index kc = std::min(kPiece, p_.depth - k);
      for (Index r = 0; r < rows; ++r) {
        const Index i =
            p_.a.index != nullptr ? static_cast<Index>(p_.a.index[first + r]) : first + r;
        table_.to_bf16(p_.a.data + i * p_.a.stride + k, kc, b_pack_ + r * piece.stride);
      }
      pack(table_, piece, 0, rows, 0, (kc + 1) / 2, tile + k / 2 * rows, rows, rows);
    }
  }

  /// Few rows: several panels per call, so that there are chains enough, and packed weights in one
  /// linear run. Many rows: long slices. The row tiles then stay in L2 while all panels of a group
  /// pass, and c is read and written seldom; shorter slices of weights that stay in L1 are slower.
  void choose_slice() {
    constexpr Index kFewRowsSlice = 256;  // packed just before its only use: small enough for L1
    one_tile_ = rows_ <= table_.mr;
    panels_per_call_ = !one_tile_ || rows_ > 3 ? 1 : rows_ == 1 ? 4 : 2;
    const auto parts = [](Index n, Index size) { return (n + size - 1) / size; };
    const Index groups = std::max<Index>(groups_, 1);
    const Index even = parts(groups, parts(groups, table_.kc));
    slice_ = parts(even, kHalf<S>) * kHalf<S>;  // at most kc, which is a multiple itself
    if (one_tile_) slice_ = direct_ ? groups : kFewRowsSlice / panels_per_call_;
  }

  /// One row of a large product waits for memory, which likes one linear run better than four; in the
  /// caches it waits for its few chains.
  Index together() const {
    constexpr Index kCached = 1 << 20;
    const Index bytes =
        (p_.panel_end - p_.panel_begin) * groups_ * kLanes<S> * static_cast<Index>(sizeof(S));
    return rows_ == 1 && direct_ && bytes > kCached ? 1 : 4;
  }

  void multiply_group(Index group, Index panels) {
    const auto tiles = pairs_ ? table_.tiles_bf16 : table_.tiles;
    for (Index k0 = 0; k0 == 0 || k0 < groups_; k0 += slice_) {
      const Index kc = std::min(slice_, groups_ - k0);
      TileArgs<S> args{a_, groups_,    k0,      kc,   rows_,   nullptr, 0,
                       0,  together(), nullptr, ldc_, k0 == 0, {}};
      const Index step = one_tile_ && direct_ ? panels : panels_per_call_;
      for (Index q = 0; q < panels; q += step) {
        args.panels = std::min(step, panels - q);
        args.c = c_ + q * kLanes<S>;
        find_weights(args, group + q);
        args.next = one_tile_ ? this_stream(args) : next_slice(group + q, k0);
        tiles(args);
      }
    }
  }

  /// Points args.b to the slice's panels: where they are, or packed or widened into scratch.
  void find_weights(TileArgs<S>& args, Index panel) {
    if (direct_) {
      args.b_stride = groups_ * kLanes<S>;
      args.b = p_.b.packed + panel * args.b_stride + args.k0 * kLanes<S>;
      return;
    }
    args.b_stride = args.kc * kLanes<S>;
    args.b = b_pack_;
    for (Index j = 0; j < args.panels; ++j, ++panel) {
      S* dst = b_pack_ + j * args.b_stride;
      if (p_.b.bf16) {
        const S* src = p_.b.packed + (panel * ((p_.depth + 1) / 2) + args.k0 / 2) * kLanes<S>;
        table_.widen_bf16(src, args.kc, dst);
      } else if (one_tile_) {
        pack_panel(table_, p_.b, panel, args.k0, args.kc, dst, next_strip(panel, 0, args.k0),
                   next_strip(panel, 1, args.k0));
      } else {
        pack_panel(table_, p_.b, panel, args.k0, args.kc, dst);
      }
    }
  }

  /// A slice of one panel.
  struct Place {
    Index panel, k0;
  };
  /// The slice that is multiplied `by` panels later: all panels of a group, then their next k.
  Place later(Place at, Index by) const {
    const Index group = p_.panel_begin + (at.panel - p_.panel_begin) / table_.nc * table_.nc;
    const Index end = std::min(group + table_.nc, p_.panel_end);
    at.panel += by;
    if (at.panel < end) return at;
    if (at.k0 + slice_ < groups_) return {at.panel - (end - group), at.k0 + slice_};
    return {at.panel, 0};
  }

  /// Bytes from this strip of weights to the one packed two panels later, so that it can be
  /// prefetched: the strips are too short for the hardware to notice.
  Index next_strip(Index panel, Index half, Index k0) const {
    if (p_.b.part[0].k_major) return 0;
    const std::uintptr_t here = strip_address({panel, k0}, half);
    const std::uintptr_t next = strip_address(later({panel, k0}, 2), half);
    return here == 0 || next == 0 ? 0 : static_cast<Index>(next - here);
  }
  /// First element of a strip; 0 where its place is not known beforehand.
  std::uintptr_t strip_address(Place at, Index half) const {
    const HalfPanel<S> h(p_.b, at.panel, half);
    const Operand<S>& m = h.part;
    if (m.index != nullptr || h.first >= p_.b.cols) return 0;
    const bool tail = at.k0 >= m.split;
    const Index k = tail ? at.k0 - m.split : at.k0;
    const Index offset = m.k_major ? k * m.stride + h.first : h.first * m.stride + k;
    return reinterpret_cast<std::uintptr_t>(tail ? m.tail : m.data) +
           static_cast<std::uintptr_t>(offset) * sizeof(S);
  }

  /// The weights of a single tile, 8 KB before their use.
  Ahead this_stream(const TileArgs<S>& args) const {
    constexpr Index kDistance = 8192;
    return direct_ ? lines_of_panel(reinterpret_cast<std::uintptr_t>(args.b) + kDistance) : Ahead{};
  }

  /// The slice after this one, to be asked for while this one is multiplied.
  Ahead next_slice(Index panel, Index k0) const {
    const Place next = later({panel, k0}, 1);
    if (next.panel >= p_.panel_end) return {};
    if (direct_) {
      const S* slice = p_.b.packed + (next.panel * groups_ + next.k0) * kLanes<S>;
      return lines_of_panel(reinterpret_cast<std::uintptr_t>(slice));
    }
    if (p_.b.bf16) return {};
    const std::uintptr_t half[2] = {strip_address(next, 0), strip_address(next, 1)};
    if (half[0] == 0) return {};
    const Operand<S>& m = p_.b.part[0];
    const Index stride = m.stride * static_cast<Index>(sizeof(S));
    return {
        {half[0], half[1] == 0 ? half[0] : half[1]}, stride, m.k_major ? kHalf<S> * stride : 64};
  }

  static Ahead lines_of_panel(std::uintptr_t panel) {
    constexpr Index kLine = 64;
    return {{panel, panel + kLine}, 2 * kLine, 2 * kLine * kHalf<S>};
  }

  const KernelTable<S>& table_;
  const Product<S>& p_;
  S* a_pack_;
  S* b_pack_;
  S* c_;
  Index ldc_;
  bool pairs_;   // k-groups are pairs of bfloat16 on both sides
  bool direct_;  // the weights are used where they lie
  Index groups_;
  bool one_tile_ = false;
  const S* a_ = nullptr;
  Index row_ = 0, rows_ = 0;
  Index slice_ = 0, panels_per_call_ = 1;
};

}  // namespace detail
MOE_NAMESPACE_END
