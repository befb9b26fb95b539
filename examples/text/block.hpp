// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The block of the model, [T, D] -> [T, D]: a residual block of the library around any of its layers,
// and what training it takes besides.
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

/// x + layer(norm(x)). A layer that routes is trained with a balance loss and a z-loss.
template <class LayerType>
class Block {
 public:
  using Layer = LayerType;

  struct Options {
    moe::SwitchLoss balance{.coefficient = 1e-2};
    moe::RouterZLoss z{.coefficient = 1e-3};
    double start_temperature = 1;  ///< of the gate; 1 at the end of the first half of training
    /// Instead of both losses, for gates that are balanced in another way.
    std::function<void(Layer&, typename Layer::Tape&)> balancing;
  };

  Block(Layer layer, const Options& options, moe::ExecutorRef threads)
      : core_(std::move(layer)), options_(options), tape_(threads), workspace_(threads) {}

  /// For gates that have a temperature; others are left alone.
  void set_progress(const Progress& progress) {
    if constexpr (requires { layer().gate().set_temperature(1.0); }) {
      const moe::TemperatureAnnealing annealing{options_.start_temperature, 1, progress.steps / 2};
      layer().gate().set_temperature(annealing.at(progress.step));
    }
  }

  void forward(moe::MatrixView<const float> x, moe::MatrixView<float> y, bool training) {
    if (training) {
      core_.forward(x, y, tape_);
    } else {
      core_.forward(x, y, workspace_);
    }
  }

  /// Writes dx, adds to the gradients; the balance losses join here.
  void backward(moe::MatrixView<const float> dy, moe::MatrixView<float> dx) {
    if (options_.balancing) {
      options_.balancing(layer(), tape_.layer);
    } else if constexpr (moe::RoutedLayer<Layer, float>) {
      tape_.add_loss(options_.balance);
      tape_.add_loss(options_.z);
    }
    core_.backward(dy, dx, tape_);
  }

  template <class F>
  void visit_parameters(F&& f) {
    core_.visit_parameters(f);
  }

  /// Weights that one token meets: all but those of the E - K experts it is not sent to.
  Index active_parameters() {
    Index count = moe::parameter_count(core_);
    if constexpr (moe::RoutedLayer<Layer, float>) {
      count -= (layer().num_experts() - layer().top_k()) * moe::parameter_count(layer().expert(0));
    }
    return count;
  }

  Layer& layer() { return core_.layer(); }
  const typename Layer::Tape& training() const { return tape_.layer; }  ///< of the last step
  const typename Layer::Workspace& inference() const { return workspace_.layer; }  ///< last call

 private:
  using Core = moe::Residual<float, Layer>;

  Core core_;
  Options options_;
  typename Core::Tape tape_;
  typename Core::Workspace workspace_;
};

}  // namespace text
