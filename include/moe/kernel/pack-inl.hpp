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

/// W rows at a time through a register transpose of 4 columns; missing rows repeat the first.
template <class F>
void pack_rows_transposed(const PackArgs<typename F::T>& g) {
  using T = typename F::T;
  for (Index i0 = 0; i0 < g.width; i0 += F::W) {
    const Index lanes = g.width - i0 < F::W ? g.width - i0 : F::W;
    const T* row[F::W];
    for (Index i = 0; i < F::W; ++i) {
      const Index r = i0 + i < g.count ? i0 + i : 0;
      row[i] = g.src + pack_row(g.index, g.first + r) * g.stride + g.k0;
    }
    T* out = g.dst + i0;
    Index k = 0;
    for (; k + 4 <= g.kc; k += 4) {
      typename F::V column[4];
      F::transpose4(row, k, column);
      for (int j = 0; j < 4; ++j, out += g.dst_stride) F::store_n(out, column[j], lanes);
    }
    for (; k < g.kc; ++k, out += g.dst_stride) {
      for (Index i = 0; i < lanes; ++i) out[i] = row[i][k];
    }
  }
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
  const auto* src = g.src + g.first;
  for (Index k = 0; k < g.kc; ++k) {
    const auto* row = src + pack_row(g.index, g.k0 + k) * g.stride;
    auto* out = g.dst + k * g.dst_stride;
    Index i = 0;
    for (; i + F::W <= g.count; i += F::W) F::store(out + i, F::load(row + i));
    if (i < g.count) F::store_n(out + i, F::load_n(row + i, g.count - i), g.count - i);
    for (i = g.count; i < g.width; ++i) out[i] = 0;
  }
}

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
