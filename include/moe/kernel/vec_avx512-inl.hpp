// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Vectors of 16 floats or 8 doubles in a zmm register. Included inside the AVX-512 region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

struct F32 {
  using T = float;
  static constexpr Index W = 16;
  static constexpr int kMr = 12;
  struct V {
    __m512 v;
  };

  static MOE_ALWAYS_INLINE __mmask16 first(Index n) {
    return static_cast<__mmask16>((1u << static_cast<unsigned>(n)) - 1u);
  }
  static MOE_ALWAYS_INLINE V zero() { return {_mm512_setzero_ps()}; }
  static MOE_ALWAYS_INLINE V set1(T x) { return {_mm512_set1_ps(x)}; }
  /// A broadcast the compiler must keep in a register: embedding it into each of a row's products
  /// would load it several times, and the load ports are the second bottleneck of a tile.
  static MOE_ALWAYS_INLINE V broadcast(const T* p) {
    V x{_mm512_set1_ps(*p)};
    __asm__("" : "+v"(x.v));
    return x;
  }
  static MOE_ALWAYS_INLINE V load(const T* p) { return {_mm512_loadu_ps(p)}; }
  static MOE_ALWAYS_INLINE V load_n(const T* p, Index n) {
    return {_mm512_maskz_loadu_ps(first(n), p)};
  }
  static MOE_ALWAYS_INLINE void store(T* p, V x) { _mm512_storeu_ps(p, x.v); }
  /// Past the cache, to an aligned address.
  static MOE_ALWAYS_INLINE void stream(T* p, V x) { _mm512_stream_ps(p, x.v); }
  static MOE_ALWAYS_INLINE void stream_fence() { _mm_sfence(); }
  static MOE_ALWAYS_INLINE void store_n(T* p, V x, Index n) {
    _mm512_mask_storeu_ps(p, first(n), x.v);
  }
  static MOE_ALWAYS_INLINE V add(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V sub(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V mul(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V div(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static MOE_ALWAYS_INLINE V abs(V a) {
    return {_mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(a.v), _mm512_set1_epi32(0x7fffffff)))};
  }
  /// a > b ? t : f per lane; false when a or b is NaN.
  static MOE_ALWAYS_INLINE V select_gt(V a, V b, V t, V f) {
    return {_mm512_mask_mov_ps(f.v, _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ), t.v)};
  }
  /// p * 2^n, n the integer in the low bits of t = n + 1.5 * 2^23; p and the result are normal.
  static MOE_ALWAYS_INLINE V times_pow2(V p, V t) {
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p.v),
                                                 _mm512_slli_epi32(_mm512_castps_si512(t.v), 23)))};
  }
  /// 2^floor(n/2) and 2^(n - floor(n/2)), n the integer in the low bits of t = n + 1.5 * 2^23.
  static MOE_ALWAYS_INLINE void split_pow2(V t, V& low, V& high) {
    const __m512i n = _mm512_sub_epi32(_mm512_castps_si512(t.v), _mm512_set1_epi32(0x4b400000));
    const __m512i half = _mm512_srai_epi32(n, 1);
    const __m512i bias = _mm512_set1_epi32(127);
    low.v = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(half, bias), 23));
    high.v = _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(n, half), bias), 23));
  }
};

struct F64 {
  using T = double;
  static constexpr Index W = 8;
  static constexpr int kMr = 12;
  struct V {
    __m512d v;
  };

  static MOE_ALWAYS_INLINE __mmask8 first(Index n) {
    return static_cast<__mmask8>((1u << static_cast<unsigned>(n)) - 1u);
  }
  static MOE_ALWAYS_INLINE V zero() { return {_mm512_setzero_pd()}; }
  static MOE_ALWAYS_INLINE V set1(T x) { return {_mm512_set1_pd(x)}; }
  static MOE_ALWAYS_INLINE V broadcast(const T* p) {
    V x{_mm512_set1_pd(*p)};
    __asm__("" : "+v"(x.v));
    return x;
  }
  static MOE_ALWAYS_INLINE V load(const T* p) { return {_mm512_loadu_pd(p)}; }
  static MOE_ALWAYS_INLINE V load_n(const T* p, Index n) {
    return {_mm512_maskz_loadu_pd(first(n), p)};
  }
  static MOE_ALWAYS_INLINE void store(T* p, V x) { _mm512_storeu_pd(p, x.v); }
  /// Past the cache, to an aligned address.
  static MOE_ALWAYS_INLINE void stream(T* p, V x) { _mm512_stream_pd(p, x.v); }
  static MOE_ALWAYS_INLINE void stream_fence() { _mm_sfence(); }
  static MOE_ALWAYS_INLINE void store_n(T* p, V x, Index n) {
    _mm512_mask_storeu_pd(p, first(n), x.v);
  }
  static MOE_ALWAYS_INLINE V add(V a, V b) { return {_mm512_add_pd(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V sub(V a, V b) { return {_mm512_sub_pd(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V mul(V a, V b) { return {_mm512_mul_pd(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V div(V a, V b) { return {_mm512_div_pd(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  static MOE_ALWAYS_INLINE V select_gt(V a, V b, V t, V f) {
    return {_mm512_mask_mov_pd(f.v, _mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ), t.v)};
  }
};

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
