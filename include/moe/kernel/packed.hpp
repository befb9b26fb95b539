// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Weights packed once into panels: for inference, and for anything that uses them more than once.
// The layout is the same for every instruction set: panel, k-group, lane, four bytes per lane and
// group.
#pragma once

#include <bit>
#include <span>
#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/core/error.hpp"
#include "moe/core/executor.hpp"
#include "moe/kernel/operand.hpp"
#include "moe/kernel/pages.hpp"
#include "moe/kernel/share.hpp"

MOE_NAMESPACE_BEGIN

/// How packed weights are stored. bfloat16 (float layers only) halves the memory and its traffic;
/// the products then run on the bf16 instructions where the CPU has them, with activations rounded
/// to bfloat16, and elsewhere in float32 with the weights widened.
enum class WeightType { native, bfloat16 };

namespace detail {

/// Round to nearest even; NaN stays NaN.
inline std::uint32_t to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return (bits >> 16) | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

/// Values that one packed panel of `depth` takes.
template <class S>
Index panel_size(Index depth, WeightType type) {
  return (type == WeightType::bfloat16 ? (depth + 1) / 2 : depth) * kLanes<S>;
}

/// bfloat16 is a storage of float weights.
template <class S>
void check_weight_type(std::string_view function, WeightType type) {
  if (type == WeightType::bfloat16 && !std::is_same_v<S, float>) {
    fail(function, "the weights are double, expected float for bfloat16 storage");
  }
}

/// One panel of `b`, all of its depth, to dst.
template <class S>
void pack_whole_panel(const KernelTable<S>& table, const PanelSource<S>& b, Index panel,
                      Index depth, WeightType type, S* dst) {
  if (type == WeightType::native) return pack_panel(table, b, panel, 0, depth, dst);
  if constexpr (std::is_same_v<S, float>) {
    constexpr Index kSlice = 64;
    float slice[kSlice * kLanes<float>];
    for (Index k0 = 0; k0 < depth; k0 += kSlice) {
      const Index kc = std::min(kSlice, depth - k0);
      pack_panel(table, b, panel, k0, kc, slice);
      for (Index k = 0; k < kc; k += 2) {
        for (Index lane = 0; lane < kLanes<float>; ++lane) {
          const float* pair = slice + k * kLanes<float> + lane;
          const std::uint32_t high = k + 1 < kc ? to_bf16(pair[kLanes<float>]) << 16 : 0u;
          dst[(k0 + k) / 2 * kLanes<float> + lane] = std::bit_cast<float>(to_bf16(*pair) | high);
        }
      }
    }
  }
}

}  // namespace detail

/// A linear map's weight w [N, K], packed; for linear_forward.
template <class S>
class PackedLinear {
 public:
  PackedLinear() = default;
  explicit PackedLinear(MatrixView<const S> w, WeightType type = WeightType::native,
                        ExecutorRef executor = {})
      : outputs_(w.rows()), inputs_(w.cols()), type_(type) {
    static_assert(std::is_same_v<S, float> || std::is_same_v<S, double>);
    detail::check_weight_type<S>("moe::PackedLinear", type);
    detail::PanelSource<S> b;
    b.part[0] = {.data = w.data(), .stride = w.stride()};
    b.cols = w.rows();
    const Index size = detail::panel_size<S>(inputs_, type);
    detail::resize_for_streaming(data_, b.panels() * size);
    const auto& table = detail::kernels<S>();  // here, where a wrong MOE_FORCE_ISA may throw
    detail::run_threads(executor, executor.size(), [&](Index i, Index n) {
      const detail::Range mine = detail::part_of(b.panels(), i, n);
      for (Index p = mine.begin; p < mine.end; ++p) {
        detail::pack_whole_panel(table, b, p, inputs_, type, data_.data() + p * size);
      }
    });
  }

  Index outputs() const { return outputs_; }
  Index inputs() const { return inputs_; }
  std::size_t bytes() const { return static_cast<std::size_t>(data_.size()) * sizeof(S); }

  /// The panels as a product's weight side.
  detail::PanelSource<S> source() const {
    detail::PanelSource<S> b;
    b.cols = outputs_;
    b.packed = data_.data();
    b.bf16 = type_ == WeightType::bfloat16;
    return b;
  }

 private:
  Index outputs_ = 0, inputs_ = 0;
  WeightType type_ = WeightType::native;
  Buffer<S> data_;
};

/// The weights of all experts, packed, with copies of their biases: after packing, the row-major
/// originals are not needed any more. For ffn_forward.
template <class S>
class PackedFfn {
 public:
  PackedFfn() = default;

  /// Packs `experts` [E] of the given shape. bfloat16 needs S = float.
  PackedFfn(const FfnShape& shape, std::span<const FfnPointers<const S>> experts,
            WeightType type = WeightType::native, ExecutorRef executor = {})
      : PackedFfn(shape, static_cast<Index>(experts.size()), type) {
    const Index panels = hidden_panels() + output_panels();
    const auto& table = detail::kernels<S>();  // here, where a wrong MOE_FORCE_ISA may throw
    detail::run_threads(executor, executor.size(), [&](Index i, Index n) {
      const detail::Range mine = detail::part_of(count_ * panels, i, n);
      for (Index job = mine.begin; job < mine.end; ++job) {
        const Index e = job / panels;
        pack_panel_of(table, e, experts[static_cast<std::size_t>(e)], job % panels);
      }
    });
    for (Index e = 0; e < count_; ++e) copy_biases(e, experts[static_cast<std::size_t>(e)]);
  }

  /// Room for `num_experts` experts, for weights that come one by one: the row-major form of all
  /// of them is never in memory. Not to be used before pack_expert was called for each.
  PackedFfn(const FfnShape& shape, Index num_experts, WeightType type = WeightType::native)
      : shape_(shape), count_(num_experts), type_(type) {
    detail::check_weight_type<S>("moe::PackedFfn", type);
    detail::resize_for_streaming(data_, count_ * expert_size());
    biases_.resize(count_ * (2 * shape.hidden_dim + shape.model_dim));
    biases_.fill(S(0));
  }

  /// Packs expert e; w's weights have the shape of the others and are not needed afterwards.
  /// Throws std::invalid_argument unless 0 <= e < num_experts().
  void pack_expert(Index e, const FfnPointers<const S>& w, ExecutorRef executor = {}) {
    if (e < 0 || e >= count_) {
      detail::fail("moe::PackedFfn::pack_expert", "e is ", e, ", expected 0 to ", count_ - 1);
    }
    const auto& table = detail::kernels<S>();
    detail::run_threads(executor, executor.size(), [&](Index i, Index n) {
      const detail::Range mine = detail::part_of(hidden_panels() + output_panels(), i, n);
      for (Index panel = mine.begin; panel < mine.end; ++panel) pack_panel_of(table, e, w, panel);
    });
    copy_biases(e, w);
  }

  const FfnShape& shape() const { return shape_; }
  Index num_experts() const { return count_; }
  std::size_t bytes() const { return static_cast<std::size_t>(data_.size()) * sizeof(S); }

  /// Panels of the first product of expert e: [H, D], or gate and in interleaved.
  detail::PanelSource<S> hidden_source(Index e) const {
    detail::PanelSource<S> b = shape_of_hidden();
    b.packed = data_.data() + e * expert_size();
    return b;
  }
  /// Panels of the second product: [D, H].
  detail::PanelSource<S> output_source(Index e) const {
    detail::PanelSource<S> b = shape_of_output();
    b.packed = data_.data() + e * expert_size() + hidden_panels() * hidden_panel_size();
    return b;
  }
  /// Pointers to the biases of expert e; its weights are null.
  FfnPointers<const S> biases(Index e) const {
    const Index h = shape_.hidden_dim, d = shape_.model_dim;
    const S* base = biases_.data() + e * (2 * h + d);
    FfnPointers<const S> p;
    p.b_gate = has_gate_ ? base : nullptr;
    p.b_in = has_in_ ? base + h : nullptr;
    p.b_out = has_out_ ? base + 2 * h : nullptr;
    return p;
  }

 private:
  detail::PanelSource<S> shape_of_hidden() const {
    detail::PanelSource<S> b;
    b.gated = shape_.gated;
    b.cols = shape_.hidden_dim;
    b.bf16 = type_ == WeightType::bfloat16;
    return b;
  }
  detail::PanelSource<S> shape_of_output() const {
    detail::PanelSource<S> b;
    b.cols = shape_.model_dim;
    b.bf16 = type_ == WeightType::bfloat16;
    return b;
  }
  Index hidden_panels() const { return shape_of_hidden().panels(); }
  Index output_panels() const { return shape_of_output().panels(); }
  Index hidden_panel_size() const { return detail::panel_size<S>(shape_.model_dim, type_); }
  Index output_panel_size() const { return detail::panel_size<S>(shape_.hidden_dim, type_); }
  Index expert_size() const {
    return hidden_panels() * hidden_panel_size() + output_panels() * output_panel_size();
  }

  void pack_panel_of(const detail::KernelTable<S>& table, Index e, const FfnPointers<const S>& w,
                     Index panel) {
    const Index d = shape_.model_dim, h = shape_.hidden_dim;
    S* dst = data_.data() + e * expert_size();
    if (panel < hidden_panels()) {
      detail::PanelSource<S> b = shape_of_hidden();
      b.part[0] = {.data = shape_.gated ? w.w_gate : w.w_in, .stride = d};
      b.part[1] = {.data = w.w_in, .stride = d};
      pack_whole_panel(table, b, panel, d, type_, dst + panel * hidden_panel_size());
      return;
    }
    panel -= hidden_panels();
    detail::PanelSource<S> b = shape_of_output();
    b.part[0] = {.data = w.w_out, .stride = h};
    pack_whole_panel(table, b, panel, h, type_,
                     dst + hidden_panels() * hidden_panel_size() + panel * output_panel_size());
  }

  /// A bias that only some experts have is zero for the others.
  void copy_biases(Index e, const FfnPointers<const S>& w) {
    const Index h = shape_.hidden_dim, d = shape_.model_dim;
    S* base = biases_.data() + e * (2 * h + d);
    const auto copy = [](const S* from, Index n, S* to, bool& has) {
      if (from == nullptr) return;
      has = true;
      std::copy_n(from, n, to);
    };
    copy(shape_.gated ? w.b_gate : nullptr, h, base, has_gate_);
    copy(w.b_in, h, base + h, has_in_);
    copy(w.b_out, d, base + 2 * h, has_out_);
  }

  FfnShape shape_;
  Index count_ = 0;
  WeightType type_ = WeightType::native;
  bool has_gate_ = false, has_in_ = false, has_out_ = false;
  Buffer<S> data_;
  Buffer<S> biases_;
};

MOE_NAMESPACE_END
