// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// One expert of any kind that every token goes through, as a layer: x [T, D] -> y [T, D].
#pragma once

#include <utility>

#include "moe/block/record.hpp"
#include "moe/expert/ffn.hpp"
#include "moe/layer/layer.hpp"

MOE_NAMESPACE_BEGIN

/// A dense FFN: no router, nothing to choose. Rows of padding become zero.
template <class S = float, class ExpertType = GatedFfn<S>>
class FfnLayer {
  static_assert(
      Expert<ExpertType, S>,
      "moe::FfnLayer: the expert needs State, forward(in, out, state) const, backward(in, "
      "dout, din, state) and visit_parameters(f); see moe/expert/expert.hpp");

 public:
  using Scalar = S;

  struct Config {
    Index model_dim = 0;   ///< D
    Index hidden_dim = 0;  ///< H
    detail::options_of<ExpertType> expert{};
  };

  struct Workspace {
    explicit Workspace(ExecutorRef threads = {}) : executor(threads) {}
    ExecutorRef executor;
    typename ExpertType::State expert;
    detail::CallRecord<S> call;  ///< of a tape; without one only its x, when there is padding
  };

  struct Tape : Workspace {
    using Workspace::Workspace;
    Buffer<S> dy;  ///< [T, D], when there is padding
  };

  /// Random weights, those of the first expert of a MoeLayer of the same seed and sizes. Throws
  /// std::invalid_argument on sizes below 1.
  explicit FfnLayer(const Config& config, std::uint64_t seed = 0)
      : FfnLayer(config.model_dim, make(config, seed)) {}

  FfnLayer(Index model_dim, ExpertType expert) : model_dim_(model_dim), expert_(std::move(expert)) {
    check_expert("moe::FfnLayer");
  }

  Index model_dim() const { return model_dim_; }
  ExpertType& expert() { return expert_; }
  const ExpertType& expert() const { return expert_; }

  /// y = expert(x). Throws std::invalid_argument on shapes that do not fit, a mask that is not [T]
  /// long, or x and y sharing memory; y is then untouched.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& workspace,
               const Batch& batch = {}) const {
    check_forward(x, y, batch);
    workspace.call.layer_id = 0;
    if (!batch.mask.empty()) x = workspace.call.keep(x, batch);
    run_forward(x, y, workspace, batch);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_forward(x, y, batch);
    run_forward(tape.call.keep(x, batch), y, tape, batch);
    tape.call.layer_id = id_.value();
  }

  /// Throws std::invalid_argument unless a backward with this tape could go ahead: what layers around
  /// this one ask before they change anything.
  void check_backward(const Tape& tape) const {
    detail::check_filled(kBackward, tape.call.layer_id, id_.value());
    check_expert(kBackward);
    detail::check_part_backward(expert_, tape.expert);
  }

  /// Writes dx and adds to the gradients of what trains. Consumes the tape. Throws
  /// std::invalid_argument when the tape is empty or another layer's, or a shape does not fit;
  /// nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    tape.call.check_shapes(kBackward, model_dim(), dy, dx);
    tape.call.layer_id = 0;
    const MatrixView<const S> x = tape.call.kept_x(model_dim());
    if (!tape.call.batch.mask.empty()) {
      const MatrixView<S> clean = tape.dy.resize(dy.rows(), dy.cols());
      detail::copy_without_padding(dy, tape.call.batch, clean);
      dy = clean;
    }
    if constexpr (requires { expert_.backward(x, dy, dx, tape.expert, tape.executor); }) {
      expert_.backward(x, dy, dx, tape.expert, tape.executor);
    } else {
      expert_.backward(x, dy, dx, tape.expert);
    }
    detail::clear_padding(tape.call.batch, dx);
  }

  template <class F>
  void visit_parameters(F&& f) {
    expert_.visit_parameters(f);
  }

  /// The same names for what else there is to save: see moe/core/state.hpp.
  template <class F>
  requires HasState<ExpertType>
  void visit_state(F&& f) { expert_.visit_state(f); }

 private:
  static constexpr auto* kBackward = "moe::FfnLayer::backward";

  static ExpertType make(const Config& config, std::uint64_t seed) {
    Random random(seed, /*stream=*/1);
    return ExpertType(Dims{config.model_dim, config.hidden_dim, 1, 1}, config.expert, random);
  }

  void check_expert(std::string_view function) const {
    detail::check_positive(function, "model_dim", model_dim_);
    detail::visit_kind(expert_, [&](const auto& expert) {
      detail::check_expert<S>(function, "the expert", expert, "the layer's model_dim", model_dim_);
    });
  }
  void check_forward(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    constexpr auto* kWhere = "moe::FfnLayer::forward";
    check_expert(kWhere);
    detail::check_forward<S>(kWhere, model_dim(), x, y, batch);
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
                   const Batch& batch) const {
    if constexpr (requires { expert_.forward(x, y, ws.expert, ws.executor); }) {
      expert_.forward(x, y, ws.expert, ws.executor);
    } else {
      expert_.forward(x, y, ws.expert);
    }
    detail::clear_padding(batch, y);
  }

  Index model_dim_;
  ExpertType expert_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
