// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// exp, sigmoid, the normal distribution and the activations with their derivatives, once over Vec.
// Included inside a target region.
//
// Every product that feeds a sum is written as an fma, so that no compiler can choose to contract
// it on one instruction set and not on another: float results have the same bits everywhere.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

/// The transcendental functions of one vector type. float: polynomials, about 1.5 ulp,
/// in GELU's tail 1 + z^2/4. double: the standard library, lane by lane.
template <class F>
struct Math;

template <>
struct Math<F32> {
  using F = F32;
  using V = F32::V;

  /// e^x = p 2^n with p near 1. 1.5 * 2^23 rounds n to an integer and leaves it in the low bits of t.
  static MOE_ALWAYS_INLINE V exp_parts(V x, V& t) {
    const V magic = F::set1(12582912.0f);
    t = F::fma(x, F::set1(1.44269504f), magic);
    const V n = F::sub(t, magic);
    V r = F::fma(n, F::set1(-0.693359375f), x);
    r = F::fma(n, F::set1(2.12194440e-4f), r);
    V q = F::set1(1.39263256181e-3f);
    q = F::fma(q, r, F::set1(8.36329275303e-3f));
    q = F::fma(q, r, F::set1(4.16665537626e-2f));
    q = F::fma(q, r, F::set1(1.66665763056e-1f));
    q = F::fma(q, r, F::set1(0.5f));
    return F::add(F::fma(F::mul(r, r), q, r), F::set1(1.0f));
  }

  /// e^x for x in [-87.3, 87.3] or NaN.
  static MOE_ALWAYS_INLINE V exp_normal(V x) {
    V t;
    const V p = exp_parts(x, t);
    return F::times_pow2(p, t);
  }

  /// e^x, also for NaN, +-Inf and results that are denormal.
  static MOE_ALWAYS_INLINE V exp(V x) {
    V t;
    const V p = exp_parts(x, t);
    V low, high;  // two steps, so that only the last product can round to a denormal
    F::split_pow2(t, low, high);
    V y = F::mul(F::mul(p, high), low);
    y = F::select_gt(x, F::set1(88.7228394f), F::set1(std::numeric_limits<float>::infinity()), y);
    return F::select_gt(F::set1(-104.0f), x, F::zero(), y);
  }

  /// 1 / (1 + e^-x), from e^-|x|: nothing overflows and small results keep their digits.
  static MOE_ALWAYS_INLINE V sigmoid(V x) {
    const V one = F::set1(1.0f);
    const V e = exp(F::sub(F::zero(), F::abs(x)));
    return F::div(F::select_gt(F::zero(), x, e, one), F::add(one, e));
  }

  /// sigmoid(x) and 1 - sigmoid(x), the latter without cancellation.
  static MOE_ALWAYS_INLINE void sigmoid_both(V x, V& s, V& rest) {
    const V one = F::set1(1.0f);
    const V e = exp(F::sub(F::zero(), F::abs(x)));
    const V large = F::div(one, F::add(one, e)), small = F::div(e, F::add(one, e));
    s = F::select_gt(F::zero(), x, small, large);
    rest = F::select_gt(F::zero(), x, large, small);
  }

  /// Phi(x), the normal distribution, and its density: Phi(-a) = e^(-a^2/2) P(a)/Q(a), P and Q minimax
  /// for a in [0, 13.25] (relative error 5e-9). |x| is at most 13.2.
  static MOE_ALWAYS_INLINE void normal(V x, V& cdf, V& density) {
    const V one = F::set1(1.0f);
    const V a = F::abs(x);
    V p = F::set1(4.015920343e-3f), q = F::set1(1.0066275135e-2f);
    q = F::fma(q, a, F::set1(0.1001603051f));
    p = F::fma(p, a, F::set1(3.995521829e-2f));
    q = F::fma(q, a, F::set1(0.4641527275f));
    p = F::fma(p, a, F::set1(0.181220517f));
    q = F::fma(q, a, F::set1(1.1941249675f));
    p = F::fma(p, a, F::set1(0.4355692664f));
    q = F::fma(q, a, F::set1(1.6690234491f));
    p = F::fma(p, a, F::set1(0.5f));
    q = F::fma(q, a, one);
    const V ratio = F::div(p, q);
    const V e = exp_normal(F::mul(a, F::mul(a, F::set1(-0.5f))));
    const V upper = F::fma(F::sub(F::zero(), e), ratio, one);
    cdf = F::select_gt(x, F::zero(), upper, F::mul(e, ratio));
    density = F::mul(e, F::set1(0.3989422804f));
  }

  /// Below minus this GELU is smaller than any normal float, and zero here.
  static constexpr float kGeluEnd = 13.2f;

  static MOE_ALWAYS_INLINE V clamp_low(V x, float low) {
    const V bound = F::set1(low);
    return F::select_gt(bound, x, bound, x);
  }
  static MOE_ALWAYS_INLINE V clamp(V x, float bound) {
    const V high = F::set1(bound);
    return F::select_gt(x, high, high, clamp_low(x, -bound));
  }

  /// 2 sqrt(2/pi) (z + 0.044715 z^3): gelu_tanh(z) = z sigmoid of this, since (1 + tanh u)/2 =
  /// sigmoid(2u).
  static MOE_ALWAYS_INLINE V gelu_tanh_argument(V z) {
    const V inner = F::fma(F::mul(z, z), F::set1(0.07135481283f), F::set1(1.59576912161f));
    return F::mul(z, inner);
  }

  // The clamps make -Inf * 0 impossible; at the bound the true value is below the smallest float.
  static MOE_ALWAYS_INLINE V activate(Activation kind, V z) {
    switch (kind) {
      case Activation::relu:
        return F::select_gt(F::zero(), z, F::zero(), z);
      case Activation::relu_squared: {
        const V r = F::select_gt(F::zero(), z, F::zero(), z);
        return F::mul(r, r);
      }
      case Activation::silu: {
        const V x = clamp_low(z, -120.0f);
        return F::mul(x, sigmoid(x));
      }
      case Activation::gelu: {
        V cdf, density;
        normal(clamp(z, kGeluEnd), cdf, density);
        return F::select_gt(F::set1(-kGeluEnd), z, F::zero(), F::mul(z, cdf));
      }
      case Activation::gelu_tanh: {
        const V x = clamp_low(z, -15.0f);
        return F::mul(x, sigmoid(gelu_tanh_argument(clamp(x, 15.0f))));
      }
      case Activation::identity:
      case Activation::clamped_swiglu:  // not of one argument, see clamped-inl.hpp
        break;
    }
    return z;
  }

  /// act(z) and its derivative.
  static MOE_ALWAYS_INLINE void activate_both(Activation kind, V z, V& value, V& slope) {
    const V one = F::set1(1.0f);
    switch (kind) {
      case Activation::relu:
        value = F::select_gt(F::zero(), z, F::zero(), z);
        slope = F::select_gt(z, F::zero(), one, F::mul(value, F::zero()));
        return;
      case Activation::relu_squared: {
        const V r = F::select_gt(F::zero(), z, F::zero(), z);
        value = F::mul(r, r);
        slope = F::add(r, r);
        return;
      }
      case Activation::silu: {
        const V x = clamp_low(z, -120.0f);
        V s, rest;
        sigmoid_both(x, s, rest);
        value = F::mul(x, s);
        slope = F::mul(s, F::fma(clamp(z, 120.0f), rest, one));
        return;
      }
      case Activation::gelu: {
        V cdf, density;
        const V c = clamp(z, kGeluEnd), low = F::set1(-kGeluEnd);
        normal(c, cdf, density);
        value = F::select_gt(low, z, F::zero(), F::mul(z, cdf));
        slope = F::select_gt(low, z, F::zero(), F::fma(c, density, cdf));
        return;
      }
      case Activation::gelu_tanh: {
        const V c = clamp(z, 15.0f);
        V s, rest;
        sigmoid_both(gelu_tanh_argument(c), s, rest);
        value = F::mul(clamp_low(z, -15.0f), s);
        const V inner = F::fma(F::mul(c, c), F::set1(0.21406443849f), F::set1(1.59576912161f));
        slope = F::fma(F::mul(F::mul(c, s), rest), inner, s);
        return;
      }
      case Activation::identity:
      case Activation::clamped_swiglu:  // not of one argument, see clamped-inl.hpp
        break;
    }
    value = z;
    slope = one;
  }
};

template <>
struct Math<F64> {
  using F = F64;
  using V = F64::V;

  static V exp(V x) {
    double lane[F::W];
    F::store(lane, x);
    for (double& a : lane) a = std::exp(a);
    return F::load(lane);
  }
  static void sigmoid_both(V x, V& s, V& rest) {
    double lane[F::W], other[F::W];
    F::store(lane, x);
    for (Index i = 0; i < F::W; ++i) {
      other[i] = 1 / (1 + std::exp(lane[i]));
      lane[i] = 1 / (1 + std::exp(-lane[i]));
    }
    s = F::load(lane);
    rest = F::load(other);
  }
  static V activate(Activation kind, V z) {
    V value, slope;
    activate_both(kind, z, value, slope);
    return value;
  }
  static void activate_both(Activation kind, V z, V& value, V& slope) {
    double x[F::W], d[F::W];
    F::store(x, z);
    for (Index i = 0; i < F::W; ++i) activate_f64(kind, x[i], d[i]);
    value = F::load(x);
    slope = F::load(d);
  }
};

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
