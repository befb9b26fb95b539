// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Vectors of 4 floats or 2 doubles in a NEON register; on AArch64 they need no target region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

struct F32 {
  using T = float;
  static constexpr Index W = 4;
  static constexpr int kMr = 12;
  struct V {
    float32x4_t v;
  };

  static MOE_ALWAYS_INLINE V zero() { return {vdupq_n_f32(0)}; }
  static MOE_ALWAYS_INLINE V set1(T x) { return {vdupq_n_f32(x)}; }
  static MOE_ALWAYS_INLINE V broadcast(const T* p) { return {vld1q_dup_f32(p)}; }
  static MOE_ALWAYS_INLINE V load(const T* p) { return {vld1q_f32(p)}; }
  static MOE_ALWAYS_INLINE V load_n(const T* p, Index n) {
    T lane[W] = {};
    for (Index i = 0; i < W && i < n; ++i) lane[i] = p[i];
    return load(lane);
  }
  static MOE_ALWAYS_INLINE void store(T* p, V x) { vst1q_f32(p, x.v); }
  static MOE_ALWAYS_INLINE void store_n(T* p, V x, Index n) {
    T lane[W];
    store(lane, x);
    for (Index i = 0; i < W && i < n; ++i) p[i] = lane[i];
  }
  static MOE_ALWAYS_INLINE V add(V a, V b) { return {vaddq_f32(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V sub(V a, V b) { return {vsubq_f32(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V mul(V a, V b) { return {vmulq_f32(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V div(V a, V b) { return {vdivq_f32(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V fma(V a, V b, V c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V abs(V a) { return {vabsq_f32(a.v)}; }
  /// a > b ? t : f per lane; false when a or b is NaN.
  static MOE_ALWAYS_INLINE V select_gt(V a, V b, V t, V f) {
    return {vbslq_f32(vcgtq_f32(a.v, b.v), t.v, f.v)};
  }
  /// 2^floor(n/2) and 2^(n - floor(n/2)), n the integer in the low bits of t = n + 1.5 * 2^23.
  static MOE_ALWAYS_INLINE V times_pow2(V p, V t) {
    return {vreinterpretq_f32_s32(
        vaddq_s32(vreinterpretq_s32_f32(p.v), vshlq_n_s32(vreinterpretq_s32_f32(t.v), 23)))};
  }
  static MOE_ALWAYS_INLINE void split_pow2(V t, V& low, V& high) {
    const int32x4_t n = vsubq_s32(vreinterpretq_s32_f32(t.v), vdupq_n_s32(0x4b400000));
    const int32x4_t half = vshrq_n_s32(n, 1);
    const int32x4_t bias = vdupq_n_s32(127);
    low.v = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    high.v = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(n, half), bias), 23));
  }
  /// Columns k to k + 3 of W rows.
  static MOE_ALWAYS_INLINE void transpose4(const T* const* row, Index k, V* column) {
    const float32x4_t a0 = vld1q_f32(row[0] + k), a1 = vld1q_f32(row[1] + k);
    const float32x4_t a2 = vld1q_f32(row[2] + k), a3 = vld1q_f32(row[3] + k);
    const float64x2_t ab_lo = vreinterpretq_f64_f32(vzip1q_f32(a0, a1));
    const float64x2_t ab_hi = vreinterpretq_f64_f32(vzip2q_f32(a0, a1));
    const float64x2_t cd_lo = vreinterpretq_f64_f32(vzip1q_f32(a2, a3));
    const float64x2_t cd_hi = vreinterpretq_f64_f32(vzip2q_f32(a2, a3));
    column[0].v = vreinterpretq_f32_f64(vzip1q_f64(ab_lo, cd_lo));
    column[1].v = vreinterpretq_f32_f64(vzip2q_f64(ab_lo, cd_lo));
    column[2].v = vreinterpretq_f32_f64(vzip1q_f64(ab_hi, cd_hi));
    column[3].v = vreinterpretq_f32_f64(vzip2q_f64(ab_hi, cd_hi));
  }
};

struct F64 {
  using T = double;
  static constexpr Index W = 2;
  static constexpr int kMr = 12;
  struct V {
    float64x2_t v;
  };

  static MOE_ALWAYS_INLINE V zero() { return {vdupq_n_f64(0)}; }
  static MOE_ALWAYS_INLINE V set1(T x) { return {vdupq_n_f64(x)}; }
  static MOE_ALWAYS_INLINE V broadcast(const T* p) { return {vld1q_dup_f64(p)}; }
  static MOE_ALWAYS_INLINE V load(const T* p) { return {vld1q_f64(p)}; }
  static MOE_ALWAYS_INLINE V load_n(const T* p, Index n) {
    if (n >= 2) return load(p);
    return {vsetq_lane_f64(n > 0 ? *p : 0, vdupq_n_f64(0), 0)};
  }
  static MOE_ALWAYS_INLINE void store(T* p, V x) { vst1q_f64(p, x.v); }
  static MOE_ALWAYS_INLINE void store_n(T* p, V x, Index n) {
    if (n >= 2) return store(p, x);
    if (n == 1) *p = vgetq_lane_f64(x.v, 0);
  }
  static MOE_ALWAYS_INLINE V add(V a, V b) { return {vaddq_f64(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V sub(V a, V b) { return {vsubq_f64(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V mul(V a, V b) { return {vmulq_f64(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V div(V a, V b) { return {vdivq_f64(a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V fma(V a, V b, V c) { return {vfmaq_f64(c.v, a.v, b.v)}; }
  static MOE_ALWAYS_INLINE V select_gt(V a, V b, V t, V f) {
    return {vbslq_f64(vcgtq_f64(a.v, b.v), t.v, f.v)};
  }
};

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
