// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Vectors of 8 floats or 4 doubles in a ymm register. Included inside the AVX2 + FMA region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

struct F32 {
  using T = float;
  static constexpr Index W = 8;
  static constexpr int kMr = 6;
  struct V {
    __m256 v;
  };

  static MOE_ALWAYS_INLINE __m256i first(Index n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static MOE_ALWAYS_INLINE V zero() { return {_mm256_setzero_ps()}; }
  static MOE_ALWAYS_INLINE V set1(T x) { return {_mm256_set1_ps(x)}; }
  static MOE_ALWAYS_INLINE V broadcast(const T* p) { return {_mm256_broadcast_ss(p)}; }
  static MOE_ALWAYS_INLINE V load(const T* p) { return {_mm256_loadu_ps(p)}; }
  static MOE_ALWAYS_INLINE V load_n(const T* p, Index n) {
    return {_mm256_maskload_ps(p, first(n))};
  }
  static MOE_ALWAYS_INLINE void store(T* p, V x) { _mm256_storeu_ps(p, x.v); }
  /// Past the cache, to an aligned address.
  static MOE_ALWAYS_INLINE void stream(T* p, V x) { _mm256_stream_ps(p, x.v); }
  static MOE_ALWAYS_INLINE void stream_fence() { _mm_sfence(); }
  /// Pieces instead of vmaskmov, whose store form is microcoded on AMD.
  static MOE_ALWAYS_INLINE void store_n(T* p, V x, Index n) {
    __m128 part = _mm256_castps256_ps128(x.v);
    if (n >= 8) return store(p, x);
    if (n >= 4) {
      _mm_storeu_ps(p, part);
      part = _mm256_extractf128_ps(x.v, 1);
      p += 4;
    }
    if ((n & 2) != 0) {
      const long long pair = _mm_cvtsi128_si64(_mm_castps_si128(part));
      __builtin_memcpy(p, &pair, sizeof(pair));
      part = _mm_movehl_ps(part, part);
      p += 2;
    }
    if ((n & 1) != 0) _mm_store_ss(p, part);
  }
  static MOE_ALWAYS_INLINE V add(V a, V b) { return {_mm256_add_ps(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V sub(V a, V b) { return {_mm256_sub_ps(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V mul(V a, V b) { return {_mm256_mul_ps(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V div(V a, V b) { return {_mm256_div_ps(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static MOE_ALWAYS_INLINE V abs(V a) {
    return {_mm256_and_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)))};
  }
  /// a > b ? t : f per lane; false when a or b is NaN.
  static MOE_ALWAYS_INLINE V select_gt(V a, V b, V t, V f) {
    return {_mm256_blendv_ps(f.v, t.v, _mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ))};
  }
  /// 2^floor(n/2) and 2^(n - floor(n/2)), n the integer in the low bits of t = n + 1.5 * 2^23.
  static MOE_ALWAYS_INLINE V times_pow2(V p, V t) {
    return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p.v),
                                                 _mm256_slli_epi32(_mm256_castps_si256(t.v), 23)))};
  }
  static MOE_ALWAYS_INLINE void split_pow2(V t, V& low, V& high) {
    const __m256i n = _mm256_sub_epi32(_mm256_castps_si256(t.v), _mm256_set1_epi32(0x4b400000));
    const __m256i half = _mm256_srai_epi32(n, 1);
    const __m256i bias = _mm256_set1_epi32(127);
    low.v = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    high.v = _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias), 23));
  }
  /// Element k of rows p[0] and p[4] begins each half.
  static MOE_ALWAYS_INLINE __m256 gather_halves(const T* const* p, Index k) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p[0] + k)),
                                _mm_loadu_ps(p[4] + k), 1);
  }
  /// Columns k to k + 3 of W rows.
  static MOE_ALWAYS_INLINE void transpose4(const T* const* row, Index k, V* column) {
    const __m256 a0 = gather_halves(row, k), a1 = gather_halves(row + 1, k);
    const __m256 a2 = gather_halves(row + 2, k), a3 = gather_halves(row + 3, k);
    const __m256d ab_lo = _mm256_castps_pd(_mm256_unpacklo_ps(a0, a1));
    const __m256d ab_hi = _mm256_castps_pd(_mm256_unpackhi_ps(a0, a1));
    const __m256d cd_lo = _mm256_castps_pd(_mm256_unpacklo_ps(a2, a3));
    const __m256d cd_hi = _mm256_castps_pd(_mm256_unpackhi_ps(a2, a3));
    column[0].v = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_lo, cd_lo));
    column[1].v = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_lo, cd_lo));
    column[2].v = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_hi, cd_hi));
    column[3].v = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_hi, cd_hi));
  }
};

struct F64 {
  using T = double;
  static constexpr Index W = 4;
  static constexpr int kMr = 6;
  struct V {
    __m256d v;
  };

  static MOE_ALWAYS_INLINE __m256i first(Index n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(n)),
                              _mm256_setr_epi64x(0, 1, 2, 3));
  }
  static MOE_ALWAYS_INLINE V zero() { return {_mm256_setzero_pd()}; }
  static MOE_ALWAYS_INLINE V set1(T x) { return {_mm256_set1_pd(x)}; }
  static MOE_ALWAYS_INLINE V broadcast(const T* p) { return {_mm256_broadcast_sd(p)}; }
  static MOE_ALWAYS_INLINE V load(const T* p) { return {_mm256_loadu_pd(p)}; }
  static MOE_ALWAYS_INLINE V load_n(const T* p, Index n) {
    return {_mm256_maskload_pd(p, first(n))};
  }
  static MOE_ALWAYS_INLINE void store(T* p, V x) { _mm256_storeu_pd(p, x.v); }
  /// Past the cache, to an aligned address.
  static MOE_ALWAYS_INLINE void stream(T* p, V x) { _mm256_stream_pd(p, x.v); }
  static MOE_ALWAYS_INLINE void stream_fence() { _mm_sfence(); }
  static MOE_ALWAYS_INLINE void store_n(T* p, V x, Index n) {
    __m128d part = _mm256_castpd256_pd128(x.v);
    if (n >= 4) return store(p, x);
    if (n >= 2) {
      _mm_storeu_pd(p, part);
      part = _mm256_extractf128_pd(x.v, 1);
      p += 2;
    }
    if ((n & 1) != 0) _mm_store_sd(p, part);
  }
  static MOE_ALWAYS_INLINE V add(V a, V b) { return {_mm256_add_pd(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V sub(V a, V b) { return {_mm256_sub_pd(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V mul(V a, V b) { return {_mm256_mul_pd(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V div(V a, V b) { return {_mm256_div_pd(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V fma(V a, V b, V c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  static MOE_ALWAYS_INLINE V select_gt(V a, V b, V t, V f) {
    return {_mm256_blendv_pd(f.v, t.v, _mm256_cmp_pd(a.v, b.v, _CMP_GT_OQ))};
  }
};

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
