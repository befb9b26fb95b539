// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Packing: strips of a matrix, gathered through an index, into k-ascending order. Included in a
// region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

MOE_ALWAYS_INLINE Index pack_row(const std::int32_t* index, Index i) {
  return index != nullptr ? static_cast<Index>(index[i]) : i;
}

/// One strip of at most kHalf lanes, row by row: for types without a register transpose.
template <class F>
void pack_rows_plain(const PackArgs<typename F::T>& g) {
  for (Index i = 0; i < g.count; ++i) {
    const auto* row = g.src + pack_row(g.index, g.first + i) * g.stride + g.k0;
    for (Index k = 0; k < g.kc; ++k) g.dst[k * g.dst_stride + i] = row[k];
  }
  for (Index k = 0; k < g.kc; ++k) {
    for (Index i = g.count; i < g.width; ++i) g.dst[k * g.dst_stride + i] = 0;
  }
}

template <class F, std::size_t... I>
MOE_ALWAYS_INLINE void store_columns(typename F::T* out, Index stride, const typename F::V* column,
                                     std::index_sequence<I...>) {
  (F::store(out + static_cast<Index>(I) * stride, column[I]), ...);
}

template <class F>
MOE_ALWAYS_INLINE void prefetch_rows(const typename F::T* const* row, Index k, Index ahead,
                                     Index lanes) {
  for (Index i = 0; i < F::W && i < lanes; ++i) {
    // By address: what comes next may be another matrix, or end before this row does.
    const auto at =
        reinterpret_cast<std::uintptr_t>(row[i] + k) + static_cast<std::uintptr_t>(ahead);
    __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2);
  }
}

/// W rows at a time through register transposes; missing rows repeat the first.
template <class F>
MOE_ALWAYS_INLINE void pack_strip(const PackArgs<typename F::T>& g, Index i0) {
  using T = typename F::T;
  const Index lanes = g.width - i0;
  const T* row[F::W];
  for (Index i = 0; i < F::W; ++i) {
    const Index r = i0 + i < g.count ? i0 + i : 0;
    row[i] = g.src + pack_row(g.index, g.first + r) * g.stride + g.k0;
  }
  T* out = g.dst + i0;
  Index k = 0;
  for (; k + 4 <= g.kc; k += 4, out += 4 * g.dst_stride) {
    if (g.ahead != 0 && k % 16 == 0) prefetch_rows<F>(row, k, g.ahead, lanes);
    typename F::V column[4];
    F::transpose4(row, k, column);
    store_columns<F>(out, g.dst_stride, column, std::make_index_sequence<4>());
  }
  for (; k < g.kc; ++k, out += g.dst_stride) {
    for (Index i = 0; i < F::W && i < lanes; ++i) out[i] = row[i][k];
  }
}

/// The last strip first: its vectors spill over the end of each k, where the first strip, or the next
/// tile, is written later. Masked stores would be slower than all the rest.
template <class F>
void pack_rows_transposed(const PackArgs<typename F::T>& g) {
  for (Index i0 = (g.width - 1) / F::W * F::W; i0 >= 0; i0 -= F::W) pack_strip<F>(g, i0);
}

template <class F>
void pack_rows(const PackArgs<typename F::T>& g) {
  if constexpr (requires { &F::transpose4; }) {
    if (g.count > 1) return pack_rows_transposed<F>(g);
  }
  pack_rows_plain<F>(g);
}

template <class F>
void pack_k_major(const PackArgs<typename F::T>& g) {
  constexpr Index kAhead = 16;
  const auto* src = g.src + g.first;
  const Index whole = g.count / F::W * F::W;
  for (Index k = 0; k < g.kc; ++k) {
    const auto* row = src + pack_row(g.index, g.k0 + k) * g.stride;
    // Each row is a line or two of another page: too little for the hardware to see a pattern.
    if (k + kAhead < g.kc) {
      __builtin_prefetch(src + pack_row(g.index, g.k0 + k + kAhead) * g.stride);
    }
    auto* out = g.dst + k * g.dst_stride;
    Index i = 0;
    for (; i < whole; i += F::W) F::store(out + i, F::load(row + i));
    // The last lanes may spill over the row: the next k, or the next tile, comes after.
    if (i < g.count) F::store(out + i, F::load_n(row + i, g.count - i));
    for (i = g.count; i < g.width; ++i) out[i] = 0;
  }
}

/// Pairs of bfloat16 per lane -> one row of floats per k. Written lane by lane: compilers vectorise
/// it.
template <class F>
void widen_bf16(const typename F::T* src, Index kc, typename F::T* dst) {
  if constexpr (sizeof(typename F::T) == 4) {
    constexpr int kCount = static_cast<int>(kLanes<float>);
    for (Index k = 0; k < kc; k += 2, src += kCount, dst += 2 * kCount) {
      std::uint32_t bits[kCount];
      __builtin_memcpy(bits, src, sizeof(bits));
      for (int i = 0; i < kCount; ++i) bits[i] <<= 16;
      __builtin_memcpy(dst, bits, sizeof(bits));
      if (k + 1 == kc) return;
      __builtin_memcpy(bits, src, sizeof(bits));
      for (int i = 0; i < kCount; ++i) bits[i] &= 0xffff0000u;
      __builtin_memcpy(dst + kCount, bits, sizeof(bits));
    }
  }
}

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
