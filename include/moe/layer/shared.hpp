// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer of any shape and an expert that every token goes through: x [T, D] -> y [T, D].
#pragma once

#include <utility>
#include <vector>

#include "moe/core/state.hpp"
#include "moe/expert/ffn.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/parts.hpp"
#include "moe/layer/shared_rows.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class L>
struct ConfigOf {
  using type = NoOptions;
};
template <class L>
requires requires { typename L::Config; }
struct ConfigOf<L> {
  using type = typename L::Config;
};

}  // namespace detail

/// y = layer(x) + shared(x) (DeepSeek, GLM, Llama 4), or with a gate (Qwen2-MoE)
/// y = layer(x) + sigmoid(<g, x>) shared(x). Several shared experts of width H are one of width n H
/// (DeepSeek-V2, V3). Padding rows stay zero; the layer's weight on its input, where it has one, does
/// not touch the shared expert. Workspace and Tape are the layer's own and more, so that routing, plan,
/// statistics and add_loss are reached as before.
template <class LayerType, class ExpertType = GatedFfn<typename LayerType::Scalar>>
class SharedLayer {
 public:
  using Scalar = typename LayerType::Scalar;

 private:
  using S = Scalar;
  static_assert(require_layer<LayerType, S>());
  static_assert(
      !requires(const LayerType& layer) { layer.output_dim(); },
      "moe::SharedLayer: the layer's output is wider than its input, expected one of model_dim "
      "columns");
  static_assert(
      Expert<ExpertType, S>,
      "moe::SharedLayer: the shared expert needs State, forward(in, out, state) const, "
      "backward(in, dout, din, state) and visit_parameters(f); see moe/expert/expert.hpp");

 public:
  struct Config {
    typename detail::ConfigOf<LayerType>::type layer{};
    Index hidden_dim = 0;  ///< of the shared expert
    detail::options_of<ExpertType> expert{};
    bool gate = false;  ///< multiply it by sigmoid(<g, x>)
  };

  struct Workspace : LayerType::Workspace {
    using LayerType::Workspace::Workspace;
    SharedRows<S> shared_rows;
    GroupState<ExpertType, S> shared_expert;
  };

  struct Tape : LayerType::Tape {
    using LayerType::Tape::Tape;
    SharedRows<S> shared_rows;
    GroupState<ExpertType, S> shared_expert;
    Buffer<S> shared_x;          ///< [T, D], a copy where the layer's tape has none
    detail::FilledBy shared_id;  ///< the SharedLayer that filled the tape, 0 when empty
  };

  /// A new layer with random weights; the same seed gives the same layer. Throws
  /// std::invalid_argument where the layer does, and on a hidden_dim below 1.
  explicit SharedLayer(const Config& config, std::uint64_t seed = 0)
      : SharedLayer{LayerType(config.layer, seed), make_shared(config, seed),
                    make_gate(config, seed)} {}

  /// A layer from its parts; `gate` [1, D], or empty for none. Throws std::invalid_argument when they
  /// do not fit one another.
  SharedLayer(LayerType layer, ExpertType shared, Parameter<S> gate = {})
      : layer_(std::move(layer)), gate_(std::move(gate)) {
    shared_.push_back(std::move(shared));
    check_shared("moe::SharedLayer");
  }

  Index model_dim() const { return layer_.model_dim(); }
  LayerType& layer() { return layer_; }
  const LayerType& layer() const { return layer_; }
  ExpertType& shared_expert() { return shared_.front(); }
  const ExpertType& shared_expert() const { return shared_.front(); }
  Parameter<S>& shared_gate() { return gate_; }
  const Parameter<S>& shared_gate() const { return gate_; }

  /// As the layer's forward, with its exceptions.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
               const Batch& batch = {}) const {
    check_shared("moe::SharedLayer::forward");
    layer_.forward(x, y, static_cast<typename LayerType::Workspace&>(ws), batch);
    ws.shared_rows.fill(x, gate_, batch);
    group_forward(shared_, ws.shared_rows.groups(), x, y, ws.shared_expert, /*keep=*/false,
                  ws.executor, /*accumulate=*/true);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_shared("moe::SharedLayer::forward");
    tape.shared_id = 0;
    layer_.forward(x, y, static_cast<typename LayerType::Tape&>(tape), batch);
    keep_x(x, tape);
    tape.shared_rows.fill(x, gate_, batch);
    group_forward(shared_, tape.shared_rows.groups(), x, y, tape.shared_expert, /*keep=*/true,
                  tape.executor, /*accumulate=*/true);
    tape.shared_id = id_.value();
  }

  /// See MoeLayer::check_backward.
  void check_backward(const Tape& tape) const {
    if (tape.shared_id != id_.value()) {
      detail::fail(kBackward,
                   "the tape is empty or another layer's, expected one training forward of this "
                   "layer before each backward");
    }
    check_shared(kBackward);
    check_group(kBackward, shared_, tape.shared_expert);
    check_experts_backward<ExpertType, S>(kBackward, shared_, tape.shared_rows.groups().offset,
                                          tape.shared_expert);
    detail::check_part_backward(layer_, static_cast<const typename LayerType::Tape&>(tape));
  }

  /// As the layer's backward, with its exceptions.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_shape(kBackward, "dy", dy, tape.shared_rows.tokens(), model_dim());
    detail::check_shape(kBackward, "dx", dx, tape.shared_rows.tokens(), model_dim());
    layer_.backward(dy, dx, static_cast<typename LayerType::Tape&>(tape));
    tape.shared_id = 0;
    const MatrixView<const S> x = kept_x(tape);
    group_backward(shared_, tape.shared_rows.groups(), x, dy, dx, tape.shared_rows.dweight(),
                   tape.shared_expert, tape.executor);
    tape.shared_rows.gate_backward(x, gate_, dx);
  }

  /// The layer's parameters under their names, then "shared_expert.*" and "shared_gate.weight".
  template <class F>
  void visit_parameters(F&& f) {
    layer_.visit_parameters(f);
    detail::visit_part<S>("shared_expert.", shared_.front(), f);
    if (!gate_.empty()) f(std::string_view("shared_gate.weight"), gate_);
  }

  /// The layer's state, and the shared expert's under "shared_expert.": see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_part_state("", layer_, f);
    detail::visit_part_state("shared_expert.", shared_.front(), f);
  }

 private:
  static constexpr auto* kBackward = "moe::SharedLayer::backward";

  // Streams that no layer's router and experts draw from.
  static constexpr std::uint64_t kStream = std::uint64_t{1} << 40;

  static ExpertType make_shared(const Config& config, std::uint64_t seed) {
    Random random(seed, kStream);
    return ExpertType({.model_dim = config.layer.model_dim, .hidden_dim = config.hidden_dim},
                      config.expert, random);
  }
  static Parameter<S> make_gate(const Config& config, std::uint64_t seed) {
    if (!config.gate) return {};
    Parameter<S> gate(1, config.layer.model_dim);
    Random random(seed, kStream + 1);
    gate.init_uniform(random, config.layer.model_dim);
    return gate;
  }

  void check_shared(std::string_view function) const {
    detail::visit_kind(shared_.front(), [&](const auto& expert) {
      detail::check_expert<S>(function, "the shared expert", expert, "the layer's model_dim",
                              model_dim());
    });
    if (!gate_.empty()) {
      detail::check_shape<const S>(function, "the shared gate", gate_.value, 1, model_dim());
    }
  }

  void keep_x(MatrixView<const S> x, Tape& tape) const {
    if constexpr (!requires { tape.kept_x(model_dim()); }) {
      const MatrixView<S> kept = tape.shared_x.resize(x.rows(), x.cols());
      for (Index t = 0; t < x.rows(); ++t) std::copy_n(x.row(t), x.cols(), kept.row(t));
    }
  }
  MatrixView<const S> kept_x(const Tape& tape) const {
    if constexpr (requires { tape.kept_x(model_dim()); }) {
      return tape.kept_x(model_dim());
    } else {
      return {tape.shared_x.data(), tape.shared_rows.tokens(), model_dim()};
    }
  }

  LayerType layer_;
  std::vector<ExpertType> shared_;  ///< one
  Parameter<S> gate_;               ///< g [1, D], or empty
  detail::LayerId id_;
};

MOE_NAMESPACE_END
