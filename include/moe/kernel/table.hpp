// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The kernel table: plain function pointers, one table per instruction set and scalar type.
#pragma once

#include <cstdint>

#include "moe/kernel/isa.hpp"
#include "moe/kernel/problem.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Lanes of a weight panel: 128 bytes per k, in two halves. The same for every instruction set.
template <class S>
inline constexpr Index kLanes = static_cast<Index>(128 / sizeof(S));
template <class S>
inline constexpr Index kHalf = kLanes<S> / 2;

/// Weights to bring nearer while a product runs: for each of its k one line of 64 bytes per half
/// panel. From k to k addresses grow by `step` bytes, but from the first of kHalf k, which are a line
/// of a row, to that of the next kHalf by `jump`. Later panels' lines are as far on as the panels are.
/// Nothing to ask for: `half` is zero.
struct Ahead {
  std::uintptr_t half[2] = {0, 0};
  Index step = 0;
  Index jump = 0;
};

/// c [rows, panels * kLanes] (+)= a b over the k-groups [k0, k0 + kc). `a` holds balanced tiles one
/// after the other, each [a_depth][tile rows]; panel p of `b` is b + p * b_stride, [kc][kLanes].
template <class S>
struct TileArgs {
  const S* a;
  Index a_depth;
  Index k0;
  Index kc;
  Index rows;
  const S* b;
  Index b_stride;
  Index panels;
  Index together;  ///< panels that a tile of few rows may take at once
  S* c;
  Index ldc;
  bool first;  ///< start from zero instead of continuing c
  Ahead next;
};

/// dst[k * dst_stride + i] = element (first + i, k0 + k) for i < count. Row-wise: that element is
/// src[row(first + i) * stride + k0 + k]; k-major: src[row(k0 + k) * stride + first + i]. `row`
/// looks up `index` unless it is null. Lanes from count to `width` get any finite or repeated
/// value.
template <class S>
struct PackArgs {
  const S* src;
  const std::int32_t* index;
  Index stride;
  Index first;
  Index count;
  Index k0;
  Index kc;
  S* dst;
  Index dst_stride;
  Index width;
  Index ahead = 0;  ///< bytes from an element to one that will be packed soon, to prefetch; 0: none
};

/// First product's epilogue. c is [rows, panels]: gated panels hold kHalf gate lanes, then the
/// kHalf matching up lanes. hidden = weight * act(gate + b_gate) * (in + b_in), or weight * act(in
/// + b_in); clamped_swiglu: see ClampedSwiglu.
template <class S>
struct ActivateArgs {
  const S* c;
  Index ldc;
  Index rows;
  Index cols;
  bool gated;
  Activation activation;
  const S* b_gate;
  const S* b_in;
  const S* weight;
  S* hidden;
  S* saved_gate;  ///< pre-activations, or null
  S* saved_in;
  Index ldh;  ///< of hidden and saved
  ClampedSwiglu clamped{};
};

/// Last product's epilogue: y[row(r)] = or += c[r] + weight[r] * bias. `token` null: row(r) = r;
/// `weight` null: 1; `bias` may be null.
template <class S>
struct StoreArgs {
  const S* c;
  Index ldc;
  Index rows;
  Index cols;
  const std::int32_t* token;
  const S* weight;
  const S* bias;
  S* y;
  Index ldy;
  bool accumulate;
};

/// Backward's first epilogue, from c = dO W_out: per row and panel <c, a> to `dot`, the gradient of
/// the pre-activations over themselves, and weight * a to `hidden`.
template <class S>
struct ActivateBackwardArgs {
  const S* c;
  Index ldc;
  Index rows;
  Index cols;
  bool gated;
  Activation activation;
  const S* weight;
  S* gate;
  S* in;
  S* hidden;
  Index ldh;
  S* dot;  ///< [rows, lddot], one value per panel
  Index lddot;
  ClampedSwiglu clamped{};
};

/// sum[j] += the chain over r ascending, from zero, of weight[r] * x[row(r)][j]; `weight` null: 1.
template <class S>
struct ColumnSumArgs {
  const S* x;
  Index ldx;
  const std::int32_t* index;
  const S* weight;
  Index rows;
  Index cols;
  S* sum;
};

/// out[r] = softmax(scale * x[r]) or, when `out` is null, lse[r] = log sum exp(scale * x[r]).
template <class S>
struct SoftmaxArgs {
  const S* x;
  Index ldx;
  Index rows;
  Index cols;
  S scale;
  S* out;
  Index ldo;
  S* lse;
};

/// Rows of tokens and rows of slots: token t has the slots slot[t * k + j] >= 0, j < k.
/// y[t] = or += sum over its slots s, ascending, of weight[s] * x[s]; `weight` null: 1. `stream`: what
/// is written will not be read soon, and goes past the cache.
template <class S>
struct CombineArgs {
  const S* x;
  Index ldx;
  const std::int32_t* slot;
  const S* weight;
  Index k;
  Index rows;
  Index cols;
  S* y;
  Index ldy;
  bool accumulate;
  bool stream;
};

/// The way back: y[s] = weight[s] * x[t] for the slots s of t; `weight` null: x[t]. `slot` null: t has
/// slot t alone, k is 1, and y may be x. With `dot` also dot[s] = <with[s], x[t]>, as the kernel dot.
template <class S>
struct SpreadArgs {
  const S* x;
  Index ldx;
  const std::int32_t* slot;
  const S* weight;
  Index k;
  Index rows;
  Index cols;
  S* y;
  Index ldy;
  bool stream;
  const S* with;
  Index ldw;
  S* dot;
};

/// The kernels of one instruction set. Plain pointers: nothing here depends on it.
template <class S>
struct KernelTable {
  Index mr;  ///< rows of the largest tile
  Index kc;  ///< k-groups per slice
  Index mc;  ///< rows per block
  Index nc;  ///< panels per column group
  void (*tiles)(const TileArgs<S>&);
  void (*tiles_bf16)(const TileArgs<S>&);  ///< null without a bf16 product; k-groups are pairs
  void (*pack_rows)(const PackArgs<S>&);
  void (*pack_k_major)(const PackArgs<S>&);
  void (*activate)(const ActivateArgs<S>&);
  void (*store)(const StoreArgs<S>&);
  void (*activate_backward)(const ActivateBackwardArgs<S>&);
  void (*column_sum)(const ColumnSumArgs<S>&);
  S (*dot)(const S* a, const S* b, Index n);
  void (*softmax)(const SoftmaxArgs<S>&);
  /// out[i] = 1 / (1 + e^(-scale x[i])); out may be x.
  void (*sigmoid)(const S* x, Index n, S scale, S* out);
  void (*combine)(const CombineArgs<S>&);
  void (*spread)(const SpreadArgs<S>&);
  /// `n` values as bfloat16, two per value of dst, an odd last one with zero; null without a
  /// product.
  void (*to_bf16)(const S* src, Index n, S* dst);
  /// Panels of pairs, [kc / 2 rounded up][kLanes], as [kc][kLanes]; float only.
  void (*widen_bf16)(const S* src, Index kc, S* dst);
};

}  // namespace detail
MOE_NAMESPACE_END
