// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Upcycling: a trained dense FFN becomes the experts of a layer.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "moe/train/grow/experts.hpp"
#include "moe/train/grow/layer.hpp"

MOE_NAMESPACE_BEGIN

struct UpcycleOptions {
  /// N(0, 1) times this share of each matrix's standard deviation, added in each expert. Experts that
  /// start equal are told apart by the router alone.
  double noise = 0;
  /// Share of the hidden units that each expert draws anew, from a normal distribution with the mean
  /// and deviation of what it replaces (Nakamura et al. 2025, drop-upcycling; 0.5 there).
  double drop = 0;
  /// What the gate's weights of a token sum to. 1: they are normalised. For a softmax over all that
  /// is not, K / E is what they sum to while the router is undecided.
  double weight_sum = 1;
  std::uint64_t seed = 0;  ///< of the router's start and of all that is drawn
};

namespace detail {

/// Hidden units [g H / G, (g + 1) H / G) of an FFN. The outputs of the G pieces, summed, are `scale`
/// times that of the whole.
template <class S, class Act, bool IsGated>
FfnExpert<S, Act, IsGated> ffn_piece(const FfnExpert<S, Act, IsGated>& dense, Index g, Index pieces,
                                     double scale) {
  FfnExpert<S, Act, IsGated> piece = dense;
  start_training<S>(piece);
  const Index h = dense.shape().hidden_dim / pieces, first = g * h;
  const auto rows = [&](Parameter<S>& p) {
    if (!p.empty()) p.value = Matrix<S>(p.value.middleRows(first, h));
  };
  const auto columns = [&](Parameter<S>& p) {
    if (!p.empty()) p.value = Matrix<S>(p.value.middleCols(first, h));
  };
  rows(piece.w_gate);
  rows(piece.w_in);
  columns(piece.b_gate);
  columns(piece.b_in);
  columns(piece.w_out);
  piece.w_out.value *= static_cast<S>(scale);
  if (!piece.b_out.empty()) {
    piece.b_out.value *= static_cast<S>(scale / static_cast<double>(pieces));
  }
  return piece;
}

/// The values f(i) names, i < count, drawn anew with their own mean and deviation.
template <class F>
void draw_alike(Index count, Random& random, F&& f) {
  double mean = 0, squares = 0;
  for (Index i = 0; i < count; ++i) mean += static_cast<double>(f(i)) / static_cast<double>(count);
  for (Index i = 0; i < count; ++i) {
    const double off = static_cast<double>(f(i)) - mean;
    squares += off * off / static_cast<double>(count);
  }
  using S = std::remove_cvref_t<decltype(f(0))>;
  const double deviation = std::sqrt(squares);
  for (Index i = 0; i < count; ++i) f(i) = static_cast<S>(mean + deviation * random.normal());
}

/// Draws round(share * H) hidden units anew: their rows of w_gate and w_in, their columns of w_out.
template <class S, class Act, bool IsGated>
void drop_units(FfnExpert<S, Act, IsGated>& expert, double share, Random& random) {
  const Index h = expert.shape().hidden_dim, d = expert.shape().model_dim;
  const auto dropped = static_cast<Index>(std::round(share * static_cast<double>(h)));
  if (dropped == 0) return;
  std::vector<Index> unit(static_cast<std::size_t>(h));
  std::iota(unit.begin(), unit.end(), Index{0});
  for (std::size_t i = 0; i < static_cast<std::size_t>(dropped); ++i) {
    std::swap(unit[i], unit[i + static_cast<std::size_t>(random.below(unit.size() - i))]);
  }
  const auto at = [&](Index i) { return unit[static_cast<std::size_t>(i)]; };
  const Index count = dropped * d;
  const auto in_rows = [&](Parameter<S>& p) {
    draw_alike(count, random, [&](Index i) -> S& { return p.value(at(i / d), i % d); });
  };
  if (!expert.w_gate.empty()) in_rows(expert.w_gate);
  in_rows(expert.w_in);
  draw_alike(count, random, [&](Index i) -> S& { return expert.w_out.value(i % d, at(i / d)); });
}

inline void check_upcycle(const UpcycleOptions& options, Index hidden, Index piece, Index experts,
                          Index top_k) {
  constexpr auto* kWhere = "moe::upcycle";
  if (piece < 1 || hidden % piece != 0) {
    fail(kWhere, "hidden_dim is ", piece, ", expected ", hidden, " or a divisor of it");
  }
  const Index pieces = hidden / piece;
  if (experts % pieces != 0 || top_k % pieces != 0) {
    fail(kWhere, "num_experts is ", experts, " and top_k is ", top_k,
         ", expected multiples of the ", pieces, " pieces of one FFN");
  }
  if (!(options.drop >= 0 && options.drop <= 1)) {
    fail(kWhere, "drop is ", options.drop, ", expected 0 to 1");
  }
  if (!(options.weight_sum > 0) || !std::isfinite(options.weight_sum)) {
    fail(kWhere, "weight_sum is ", options.weight_sum, ", expected a finite value above 0");
  }
}

}  // namespace detail

/// A layer whose experts are copies of `dense`, its router and gate new (Komatsuzaki et al. 2023).
/// With config.hidden_dim = H / G each expert is one of G pieces of the FFN, expert e piece e mod G, and
/// the G experts of a group share one router row, so that a token takes whole groups: K and E are
/// multiples of G, and w_out is G times larger to make up for weights that are shared among the pieces
/// (He et al. 2024, virtual groups and weight scaling, there spread over all matrices).
/// config.model_dim and hidden_dim may be 0: those of `dense`.
/// Without noise and drop the layer's output is that of `dense` to rounding, when the weights of a
/// token sum to weight_sum and none of its experts is full:
///   moe::output_error(layer, dense, x)  says how far it is off.
/// Throws std::invalid_argument on sizes that do not fit.
template <class Layer>
Layer upcycle(const detail::expert_of<Layer>& dense, typename Layer::Config config,
              const UpcycleOptions& options = {}) {
  using S = typename Layer::Scalar;
  constexpr auto* kWhere = "moe::upcycle";
  const FfnShape shape = dense.shape();
  dense.check_shapes(kWhere, shape);
  if (config.model_dim == 0) config.model_dim = shape.model_dim;
  if (config.hidden_dim == 0) config.hidden_dim = shape.hidden_dim;
  detail::check_size(kWhere, "dense", shape.model_dim, "columns", "model_dim", config.model_dim);
  detail::check_upcycle(options, shape.hidden_dim, config.hidden_dim, config.num_experts,
                        config.top_k);
  const Index pieces = shape.hidden_dim / config.hidden_dim;
  Layer layer(config, options.seed);
  for (Index e = 0; e < layer.num_experts(); ++e) {
    Random random(options.seed, 0x10000 + static_cast<std::uint64_t>(e));
    auto piece = detail::ffn_piece(dense, e % pieces, pieces,
                                   static_cast<double>(pieces) / options.weight_sum);
    detail::drop_units(piece, options.drop, random);
    add_noise<S>(piece, options.noise, random);
    layer.expert(e) = std::move(piece);
  }
  if (pieces == 1) return layer;
  if constexpr (HasExpertAxes<detail::router_of<Layer>>) {
    ExpertChange groups(layer.num_experts());
    for (Index e = 0; e < groups.after(); ++e) {
      groups.origin[static_cast<std::size_t>(e)].experts[0] = e / pieces * pieces;
    }
    detail::rearrange_parameters<S>(layer.router(), "router.", groups);
    return layer;
  } else {
    detail::fail(kWhere, "the router has no rows for experts to share, expected hidden_dim ",
                 shape.hidden_dim);
  }
}

MOE_NAMESPACE_END
