// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// bfloat16 pairs: the product step, and the conversion of rows. Included inside the AVX512-BF16
// region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

/// A vector of 16 pairs of bfloat16 whose fma adds both products of a pair to a float lane. All
/// else, broadcasts and loads of 4-byte k-groups included, is as for floats.
struct Bf16 : F32 {
  static MOE_ALWAYS_INLINE V fma(V a, V b, V c) {
    return {_mm512_dpbf16_ps(c.v, (__m512bh)_mm512_castps_si512(a.v),
                             (__m512bh)_mm512_castps_si512(b.v))};
  }
};

inline void to_bf16(const float* src, Index n, float* dst) {
  for (Index i = 0; i < n; i += 16) {
    const Index count = n - i < 16 ? n - i : 16;
    const __m512 x = _mm512_maskz_loadu_ps(F32::first(count), src + i);
    const auto half = (__m256i)_mm512_cvtneps_pbh(x);
    if (count == 16)
      _mm256_storeu_ps(dst + i / 2, _mm256_castsi256_ps(half));
    else
      _mm512_mask_storeu_ps(dst + i / 2, F32::first((count + 1) / 2),
                            _mm512_castsi512_ps(_mm512_castsi256_si512(half)));
  }
}

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
