// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Row kernels of routing: softmax, log-sum-exp, sigmoid. Included inside a target region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

template <class F>
typename F::T row_max(const typename F::T* x, Index n, typename F::T scale) {
  using T = typename F::T;
  typename F::V best = F::set1(-std::numeric_limits<T>::infinity());
  const typename F::V factor = F::set1(scale);
  Index i = 0;
  for (; i + F::W <= n; i += F::W) {
    const typename F::V v = F::mul(F::load(x + i), factor);
    best = F::select_gt(v, best, v, best);
  }
  T lane[F::W];
  F::store(lane, best);
  T max = lane[0];
  for (T v : lane) max = v > max ? v : max;
  for (; i < n; ++i) {
    const T v = x[i] * scale;
    max = v > max ? v : max;
  }
  return max;
}

/// Writes e^(scale x - max) to `out` unless it is null; returns the sum (kHalf partial sums).
template <class F>
typename F::T exp_sum(const typename F::T* x, Index n, typename F::T scale, typename F::T max,
                      typename F::T* out) {
  using T = typename F::T;
  using V = typename F::V;
  V sum[kHalf<T> / F::W];
  for (auto& s : sum) s = F::zero();
  const V factor = F::set1(scale), shift = F::set1(-max);
  for (Index i = 0; i < n; i += F::W) {
    auto& s = sum[i % kHalf<T> / F::W];
    V e = Math<F>::exp(F::fma(load_part<F>(x + i, n - i), factor, shift));
    if (out != nullptr) store_part<F>(out + i, e, n - i);
    if (n - i < F::W) {  // lanes past the end count nothing
      T lane[F::W] = {};
      F::store_n(lane, e, n - i);
      e = F::load(lane);
    }
    s = F::add(s, e);
  }
  return reduce<F>(sum);
}

template <class F>
void softmax_rows_one_by_one(const SoftmaxArgs<typename F::T>& g, Index first) {
  using T = typename F::T;
  for (Index r = first; r < g.rows; ++r) {
    const T* x = g.x + r * g.ldx;
    const T max = row_max<F>(x, g.cols, g.scale);
    T* out = g.out != nullptr ? g.out + r * g.ldo : nullptr;
    const T sum = exp_sum<F>(x, g.cols, g.scale, max, out);
    if (g.lse != nullptr) {
      g.lse[r] = log_of_sum(sum, max, x, g.cols, g.scale);
    }
    if (out == nullptr) continue;
    const typename F::V total = F::set1(sum);
    for (Index i = 0; i < g.cols; i += F::W) {
      const Index n = g.cols - i;
      store_part<F>(out + i, F::div(load_part<F>(out + i, n), total), n);
    }
  }
}

/// Rows of at most so many columns are turned, W of them at a time: a vector then holds one column of W
/// rows and not a few lanes of one row. The same operations in the same order, so the same bits.
constexpr Index kShortRow = 8;

/// Rows [first, first + W).
template <class F>
MOE_ALWAYS_INLINE void softmax_turned(const SoftmaxArgs<typename F::T>& g, Index first) {
  using T = typename F::T;
  using V = typename F::V;
  T lanes[kShortRow][F::W];
  for (Index r = 0; r < F::W; ++r) {
    for (Index c = 0; c < g.cols; ++c) lanes[c][r] = g.x[(first + r) * g.ldx + c];
  }
  const V factor = F::set1(g.scale);
  V best = F::set1(-std::numeric_limits<T>::infinity());
  for (Index c = 0; c < g.cols; ++c) {
    const V v = F::mul(F::load(lanes[c]), factor);
    best = F::select_gt(v, best, v, best);
  }
  const V shift = F::sub(F::zero(), best);
  V e[kShortRow], sum[kShortRow];
  for (Index c = 0; c < kShortRow; ++c) {
    e[c] = c < g.cols ? Math<F>::exp(F::fma(F::load(lanes[c]), factor, shift)) : F::zero();
    sum[c] = e[c];
  }
  for (Index width = kShortRow / 2; width > 0; width /= 2) {  // the tree of `reduce`
    for (Index c = 0; c < width; ++c) sum[c] = F::add(sum[c], sum[c + width]);
  }
  for (Index c = 0; c < g.cols; ++c) F::store(lanes[c], F::div(e[c], sum[0]));
  for (Index r = 0; r < F::W; ++r) {
    for (Index c = 0; c < g.cols; ++c) g.out[(first + r) * g.ldo + c] = lanes[c][r];
  }
}

template <class F>
void softmax(const SoftmaxArgs<typename F::T>& g) {
  Index row = 0;
  if constexpr (F::W > 1) {
    const bool turn = g.cols <= kShortRow && g.lse == nullptr;
    for (; turn && row + F::W <= g.rows; row += F::W) softmax_turned<F>(g, row);
  }
  softmax_rows_one_by_one<F>(g, row);
}

/// From e^-|z|: nothing overflows and small results keep their digits.
template <class F>
void sigmoid_all(const typename F::T* x, Index n, typename F::T scale, typename F::T* out) {
  using V = typename F::V;
  const V factor = F::set1(scale), one = F::set1(1), zero = F::zero();
  for (Index i = 0; i < n; i += F::W) {
    const V z = F::mul(load_part<F>(x + i, n - i), factor);
    const V minus = F::sub(zero, z);
    const V e = Math<F>::exp(F::select_gt(z, zero, minus, z));
    store_part<F>(out + i, F::div(F::select_gt(zero, z, e, one), F::add(one, e)), n - i);
  }
}

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
