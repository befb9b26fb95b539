// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What stands between the norm and the residual, [T, D] -> [T, D]: an MoE layer or one dense FFN.
#pragma once

#include <functional>
#include <moe/moe.hpp>

namespace text {

using moe::Index;

/// Where training stands; for whatever a block anneals.
struct Progress {
  Index step = 0;
  Index steps = 1;
};

/// A MoE layer of any router, gate and expert, trained with a balance loss and a z-loss.
template <class LayerType>
class MoeBlock {
 public:
  using Layer = LayerType;

  struct Options {
    moe::SwitchLoss balance{.coefficient = 1e-2};
    moe::RouterZLoss z{.coefficient = 1e-3};
    double start_temperature = 1;  ///< of the gate; 1 at the end of the first half of training
    /// Instead of both losses, for gates that are balanced in another way.
    std::function<void(Layer&, typename Layer::Tape&)> balancing;
  };

  MoeBlock(Layer layer, const Options& options, moe::ExecutorRef threads)
      : layer_(std::move(layer)), options_(options), tape_(threads), workspace_(threads) {}

  /// For gates that have a temperature; others are left alone.
  void set_progress(const Progress& progress) {
    if constexpr (requires { layer_.gate().set_temperature(1.0); }) {
      const moe::TemperatureAnnealing annealing{options_.start_temperature, 1, progress.steps / 2};
      layer_.gate().set_temperature(annealing.at(progress.step));
    }
  }

  void forward(moe::MatrixView<const float> x, moe::MatrixView<float> y, bool training) {
    if (training) {
      layer_.forward(x, y, tape_);
    } else {
      layer_.forward(x, y, workspace_);
    }
  }

  /// Writes dx, adds to the gradients; the balance losses join here.
  void backward(moe::MatrixView<const float>, moe::MatrixView<const float> dy,
                moe::MatrixView<float> dx) {
    if (options_.balancing) {
      options_.balancing(layer_, tape_);
    } else {
      tape_.add_loss(options_.balance);
      tape_.add_loss(options_.z);
    }
    layer_.backward(dy, dx, tape_);
  }

  template <class F>
  void visit_parameters(F&& f) {
    layer_.visit_parameters(f);
  }

  /// Weights that one token meets: all but those of the E - K experts it is not sent to.
  Index active_parameters() {
    return moe::parameter_count(layer_) -
           (layer_.num_experts() - layer_.top_k()) * moe::parameter_count(layer_.expert(0));
  }

  Layer& layer() { return layer_; }
  const typename Layer::Workspace& training() const { return tape_; }        ///< of the last step
  const typename Layer::Workspace& inference() const { return workspace_; }  ///< of the last call

 private:
  Layer layer_;
  Options options_;
  typename Layer::Tape tape_;
  typename Layer::Workspace workspace_;
};

/// One FFN that every token goes through.
template <class Ffn>
class DenseBlock {
 public:
  DenseBlock(Ffn ffn, moe::ExecutorRef threads) : ffn_(std::move(ffn)), threads_(threads) {}

  void set_progress(const Progress&) {}

  void forward(moe::MatrixView<const float> x, moe::MatrixView<float> y, bool) {
    ffn_.forward(x, y, state_, threads_);
  }
  void backward(moe::MatrixView<const float> x, moe::MatrixView<const float> dy,
                moe::MatrixView<float> dx) {
    ffn_.backward(x, dy, dx, state_, threads_);
  }

  template <class F>
  void visit_parameters(F&& f) {
    ffn_.visit_parameters(f);
  }

  Index active_parameters() { return moe::parameter_count(ffn_); }
  Ffn& ffn() { return ffn_; }

 private:
  Ffn ffn_;
  typename Ffn::State state_;
  moe::ExecutorRef threads_;
};

}  // namespace text
