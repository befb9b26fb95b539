// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What happens to a product's rows: activation, combine, and their backward. Included in a region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

/// Loads n lanes, all of them when that is a whole vector.
template <class F>
MOE_ALWAYS_INLINE typename F::V load_part(const typename F::T* p, Index n) {
  return n >= F::W ? F::load(p) : F::load_n(p, n);
}
template <class F>
MOE_ALWAYS_INLINE void store_part(typename F::T* p, typename F::V x, Index n) {
  if (n >= F::W) return F::store(p, x);
  F::store_n(p, x, n);
}

/// Sum of kHalf lanes held in kHalf / W vectors: one fixed tree, the same for every W.
template <class F>
MOE_ALWAYS_INLINE typename F::T reduce(const typename F::V* x) {
  using T = typename F::T;
  T lane[kHalf<T>];
  for (Index i = 0; i < kHalf<T>; i += F::W) F::store(lane + i, x[i / F::W]);
  for (Index width = kHalf<T> / 2; width > 0; width /= 2) {
    for (Index i = 0; i < width; ++i) lane[i] = lane[i] + lane[i + width];
  }
  return lane[0];
}

/// <a, b>: lane i of the partial sums takes elements i, i + kHalf, ...
template <class F>
typename F::T dot(const typename F::T* a, const typename F::T* b, Index n) {
  using T = typename F::T;
  typename F::V sum[kHalf<T> / F::W];
  for (auto& s : sum) s = F::zero();
  for (Index i = 0; i < n; i += kHalf<T>) {
    for (Index j = 0; j < kHalf<T> && i + j < n; j += F::W) {
      auto& s = sum[j / F::W];
      s = F::fma(load_part<F>(a + i + j, n - i - j), load_part<F>(b + i + j, n - i - j), s);
    }
  }
  return reduce<F>(sum);
}

template <class F, bool kClamped>
MOE_ALWAYS_INLINE void activate_lanes(const ActivateArgs<typename F::T>& g, Index row, Index col,
                                      const typename F::T* c, typename F::V weight, Index n) {
  using T = typename F::T;
  using V = typename F::V;
  const Index at = row * g.ldh + col;
  V in = F::load(g.gated ? c + kHalf<T> : c);
  if (g.b_in != nullptr) in = F::add(in, load_part<F>(g.b_in + col, n));
  if (g.saved_in != nullptr) store_part<F>(g.saved_in + at, in, n);
  V hidden;
  if (g.gated) {
    V gate = F::load(c);
    if (g.b_gate != nullptr) gate = F::add(gate, load_part<F>(g.b_gate + col, n));
    if (g.saved_gate != nullptr) store_part<F>(g.saved_gate + at, gate, n);
    if constexpr (kClamped) {
      hidden = F::mul(weight, ClampedLanes<F>(g.clamped, gate, in).product());
    } else {
      hidden = F::mul(weight, F::mul(Math<F>::activate(g.activation, gate), in));
    }
  } else {
    hidden = F::mul(weight, Math<F>::activate(g.activation, in));
  }
  store_part<F>(g.hidden + at, hidden, n);
}

template <class F, bool kClamped>
void activate_rows(const ActivateArgs<typename F::T>& g) {
  using T = typename F::T;
  for (Index r = 0; r < g.rows; ++r) {
    const typename F::V weight = F::set1(g.weight != nullptr ? g.weight[r] : T(1));
    const T* c = g.c + r * g.ldc;
    for (Index col = 0; col < g.cols; col += F::W) {
      // Gated: kHalf columns per panel of 2 kHalf lanes.
      const Index lane = g.gated ? col / kHalf<T> * kLanes<T> + col % kHalf<T> : col;
      activate_lanes<F, kClamped>(g, r, col, c + lane, weight, g.cols - col);
    }
  }
}

template <class F>
void activate(const ActivateArgs<typename F::T>& g) {
  // A loop of its own: the other activations must not carry the numbers of this one.
  if (g.gated && g.activation == Activation::clamped_swiglu) return activate_rows<F, true>(g);
  activate_rows<F, false>(g);
}

template <class F>
void store_rows(const StoreArgs<typename F::T>& g) {
  using T = typename F::T;
  for (Index r = 0; r < g.rows; ++r) {
    const typename F::V weight = F::set1(g.weight != nullptr ? g.weight[r] : T(1));
    const T* c = g.c + r * g.ldc;
    T* y = g.y + pack_row(g.token, r) * g.ldy;
    for (Index col = 0; col < g.cols; col += F::W) {
      const Index n = g.cols - col;
      typename F::V v = F::load(c + col);
      if (g.bias != nullptr) v = F::fma(weight, load_part<F>(g.bias + col, n), v);
      if (g.accumulate) v = F::add(load_part<F>(y + col, n), v);
      store_part<F>(y + col, v, n);
    }
  }
}

/// One vector of ActivateBackwardArgs; returns a, the unweighted expert activation.
template <class F, bool kClamped>
MOE_ALWAYS_INLINE typename F::V backward_lanes(const ActivateBackwardArgs<typename F::T>& g,
                                               Index at, typename F::V da, typename F::V weight,
                                               Index n) {
  using V = typename F::V;
  const V in = load_part<F>(g.in + at, n);
  const V dz = F::mul(weight, da);
  V value, slope, a;
  if constexpr (kClamped) {
    const ClampedLanes<F> lanes(g.clamped, load_part<F>(g.gate + at, n), in);
    a = lanes.product();
    store_part<F>(g.gate + at, lanes.gate_gradient(dz), n);
    store_part<F>(g.in + at, lanes.up_gradient(dz), n);
  } else if (g.gated) {
    Math<F>::activate_both(g.activation, load_part<F>(g.gate + at, n), value, slope);
    a = F::mul(value, in);
    store_part<F>(g.gate + at, F::mul(F::mul(dz, in), slope), n);
    store_part<F>(g.in + at, F::mul(dz, value), n);
  } else {
    Math<F>::activate_both(g.activation, in, value, slope);
    a = value;
    store_part<F>(g.in + at, F::mul(dz, slope), n);
  }
  store_part<F>(g.hidden + at, F::mul(weight, a), n);
  return a;
}

template <class F, bool kClamped>
void activate_backward_rows(const ActivateBackwardArgs<typename F::T>& g) {
  using T = typename F::T;
  for (Index r = 0; r < g.rows; ++r) {
    const typename F::V weight = F::set1(g.weight[r]);
    for (Index first = 0; first < g.cols; first += kLanes<T>) {
      typename F::V sum[kHalf<T> / F::W];
      for (auto& s : sum) s = F::zero();
      for (Index lane = 0; lane < kLanes<T> && first + lane < g.cols; lane += F::W) {
        const Index col = first + lane;
        const Index n = g.cols - col;
        const typename F::V da = load_part<F>(g.c + r * g.ldc + col, n);
        const typename F::V a = backward_lanes<F, kClamped>(g, r * g.ldh + col, da, weight, n);
        auto& s = sum[lane % kHalf<T> / F::W];
        // Lanes past the end: da is zero there, and a must not turn that into NaN.
        s = F::fma(da, a, s);
      }
      g.dot[r * g.lddot + first / kLanes<T>] = reduce<F>(sum);
    }
  }
}

template <class F>
void activate_backward(const ActivateBackwardArgs<typename F::T>& g) {
  if (g.gated && g.activation == Activation::clamped_swiglu) {
    return activate_backward_rows<F, true>(g);
  }
  activate_backward_rows<F, false>(g);
}

template <class F>
void column_sum(const ColumnSumArgs<typename F::T>& g) {
  using T = typename F::T;
  for (Index col = 0; col < g.cols; col += F::W) {
    const Index n = g.cols - col;
    typename F::V sum = F::zero();
    for (Index r = 0; r < g.rows; ++r) {
      const typename F::V weight = F::set1(g.weight != nullptr ? g.weight[r] : T(1));
      sum = F::fma(weight, load_part<F>(g.x + pack_row(g.index, r) * g.ldx + col, n), sum);
    }
    store_part<F>(g.sum + col, F::add(load_part<F>(g.sum + col, n), sum), n);
  }
}

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
