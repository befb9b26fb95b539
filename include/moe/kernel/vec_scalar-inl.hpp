// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// "Vectors" of one value: the oracle every other instruction set is compared with, and the
// fallback.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

template <class Value>
struct ScalarVec {
  using T = Value;
  static constexpr Index W = 1;
  static constexpr int kMr = 4;
  struct V {
    T v;
  };

  static V zero() { return {T(0)}; }
  static V set1(T x) { return {x}; }
  static V broadcast(const T* p) { return {*p}; }
  static V load(const T* p) { return {*p}; }
  static V load_n(const T* p, Index n) { return {n > 0 ? *p : T(0)}; }
  static void store(T* p, V x) { *p = x.v; }
  static void store_n(T* p, V x, Index n) {
    if (n > 0) *p = x.v;
  }
  static V add(V a, V b) { return {a.v + b.v}; }
  static V sub(V a, V b) { return {a.v - b.v}; }
  /// Opaque, so that a translation unit built with FMA does not contract it into a later sum.
  static V mul(V a, V b) {
    V c{a.v * b.v};
#if MOE_HAVE_X86
    __asm__("" : "+x"(c.v));
#elif MOE_HAVE_NEON
    __asm__("" : "+w"(c.v));
#endif
    return c;
  }
  static V div(V a, V b) { return {a.v / b.v}; }
  static V fma(V a, V b, V c) { return {std::fma(a.v, b.v, c.v)}; }
  static V abs(V a) { return {std::fabs(a.v)}; }
  static V select_gt(V a, V b, V t, V f) { return a.v > b.v ? t : f; }
};

struct F32 : ScalarVec<float> {
  /// 2^floor(n/2) and 2^(n - floor(n/2)), n the integer in the low bits of t = n + 1.5 * 2^23.
  static V times_pow2(V p, V t) {
    return {std::bit_cast<float>(std::bit_cast<std::uint32_t>(p.v) +
                                 (std::bit_cast<std::uint32_t>(t.v) << 23))};
  }
  static void split_pow2(V t, V& low, V& high) {
    // Unsigned throughout: for huge or NaN arguments the bits are arbitrary and must only not trap.
    const auto n = static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(t.v) - 0x4b400000u);
    const auto half = static_cast<std::uint32_t>(n >> 1);
    low.v = std::bit_cast<float>((half + 127u) << 23);
    high.v = std::bit_cast<float>((static_cast<std::uint32_t>(n) - half + 127u) << 23);
  }
};
struct F64 : ScalarVec<double> {};

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
