// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The clamped SwiGLU of one vector of gates and ups, and its gradients. Included in a region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

/// a = g' s (u' + offset), g' = min(g, limit), s = sigmoid(alpha g'), u' = clamp(u, -limit, limit).
template <class F>
class ClampedLanes {
  using T = typename F::T;
  using V = typename F::V;

 public:
  MOE_ALWAYS_INLINE ClampedLanes(const ClampedSwiglu& c, V gate, V up)
      : gate_(gate), up_(up), limit_(F::set1(static_cast<T>(c.limit))) {
    // Where sigmoid is below the smallest number: keeps -Inf * 0 out.
    const T far = sizeof(T) == 4 ? T(120) : T(800);
    const V alpha = F::set1(static_cast<T>(c.alpha));
    const V g = at_least(at_most(gate, limit_), F::set1(static_cast<T>(-far / c.alpha)));
    scaled_ = at_most(F::mul(alpha, g), F::set1(far));
    Math<F>::sigmoid_both(scaled_, sigmoid_, rest_);
    swish_ = F::mul(g, sigmoid_);
    const V low = F::set1(static_cast<T>(-c.limit));
    factor_ = F::add(at_least(at_most(up, limit_), low), F::set1(static_cast<T>(c.offset)));
  }

  MOE_ALWAYS_INLINE V product() const { return F::mul(swish_, factor_); }

  /// d * da/dg: s (1 + alpha g' (1 - s)) (u' + offset) up to the limit, 0 above it.
  MOE_ALWAYS_INLINE V gate_gradient(V d) const {
    const V slope = F::mul(sigmoid_, F::fma(scaled_, rest_, F::set1(T(1))));
    const V gradient = F::mul(F::mul(d, factor_), slope);
    return F::select_gt(gate_, limit_, F::zero(), gradient);
  }

  /// d * da/du: g' s between the limits, 0 beyond them.
  MOE_ALWAYS_INLINE V up_gradient(V d) const {
    const V inside = F::select_gt(up_, limit_, F::zero(), F::mul(d, swish_));
    return F::select_gt(F::sub(F::zero(), limit_), up_, F::zero(), inside);
  }

 private:
  // NaN stays NaN: the comparison is false.
  static MOE_ALWAYS_INLINE V at_most(V x, V bound) { return F::select_gt(x, bound, bound, x); }
  static MOE_ALWAYS_INLINE V at_least(V x, V bound) { return F::select_gt(bound, x, bound, x); }

  V gate_, up_, limit_;
  V scaled_, sigmoid_, rest_, swish_, factor_;
};

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
