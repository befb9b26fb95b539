// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The two sides of a product as they lie in memory, and their packing.
#pragma once

#include <algorithm>
#include <limits>

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
/// `packed`, when set, holds all panels already, each [depth][kLanes], or, with `bf16`, [depth / 2
/// rounded up][kLanes] pairs of bfloat16.
template <class S>
struct PanelSource {
  Operand<S> part[2];
  bool gated = false;
  Index cols = 0;
  const S* packed = nullptr;
  bool bf16 = false;

  Index cols_per_panel() const { return gated ? kHalf<S> : kLanes<S>; }
  Index panels() const { return (cols + cols_per_panel() - 1) / cols_per_panel(); }
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

/// First column of half a panel, and the part it belongs to.
template <class S>
struct HalfPanel {
  const Operand<S>& part;
  Index first;
  HalfPanel(const PanelSource<S>& b, Index panel, Index half)
      : part(b.part[b.gated ? half : 0]),
        first(b.gated ? panel * kHalf<S> : panel * kLanes<S> + half * kHalf<S>) {}
};

/// The k-groups [k0, k0 + kc) of one panel to dst [kc][kLanes]. `ahead`: see PackArgs, per half.
template <class S>
void pack_panel(const KernelTable<S>& table, const PanelSource<S>& b, Index panel, Index k0,
                Index kc, S* dst, Index ahead0 = 0, Index ahead1 = 0) {
  for (Index half = 0; half < 2; ++half) {
    const HalfPanel<S> h(b, panel, half);
    const Index count = std::clamp<Index>(b.cols - h.first, 0, kHalf<S>);
    S* out = dst + half * kHalf<S>;
    if (count > 0) {
      pack(table, h.part, h.first, count, k0, kc, out, kLanes<S>, kHalf<S>,
           half == 0 ? ahead0 : ahead1);
    } else {
      for (Index k = 0; k < kc; ++k) std::fill_n(out + k * kLanes<S>, kHalf<S>, S(0));
    }
  }
}

}  // namespace detail
MOE_NAMESPACE_END
