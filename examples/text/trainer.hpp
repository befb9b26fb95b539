// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Trainer: one model, its optimizer and schedule, its history.
#pragma once

#include <chrono>
#include <moe/core/state.hpp>

#include "corpus.hpp"

namespace text {

struct TrainOptions {
  Index steps = 1000;
  double lr = 3e-3;  ///< peak, after a warm-up of steps / 20; a tenth of it at the end
  double weight_decay = 0.05;
  double max_grad_norm = 1;
};

/// A point of a learning curve.
struct Measurement {
  Index step = 0;
  double bits_per_byte = 0;
};

/// Bits per byte on the validation part; `visit(batch)` sees each batch after its forward.
template <class Model, class Visit>
double validate(Model& model, const Corpus& corpus, Index batch_size, ByteBatch& batch,
                Visit&& visit) {
  const Index n = corpus.validation_size();
  double nats = 0;
  for (Index first = 0; first < n; first += batch_size) {
    corpus.validation_batch(first, std::min(batch_size, n - first), batch);
    nats += model.evaluate(batch);
    visit(std::as_const(batch));
  }
  return to_bits(nats / static_cast<double>(n));
}

/// Trains `model` (kept by the caller) with AdamW, warm-up and cosine, clipped gradients.
template <class Model>
class Trainer {
 public:
  Trainer(std::string name, Model& model, const TrainOptions& options)
      : name_(std::move(name)),
        model_(model),
        options_(options),
        optimizer_({.beta2 = 0.99, .weight_decay = options.weight_decay}),
        schedule_{options.lr, options.steps / 20, options.steps, options.lr / 10} {}

  /// One update. A step whose gradient is not finite is left out.
  void step(const ByteBatch& batch) {
    const auto start = Clock::now();
    model_.block().set_progress({step_, options_.steps});
    moe::zero_grad(model_);
    const double bits = to_bits(model_.forward_backward(batch));
    const double norm = moe::clip_grad_norm(model_, options_.max_grad_norm);
    if (std::isfinite(norm)) optimizer_.step(model_, schedule_.at(step_));
    smoothed_ = step_ == 0 ? bits : 0.97 * smoothed_ + 0.03 * bits;
    ++step_;
    tokens_ += batch.tokens();
    seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  }

  /// Measures on the validation part and remembers it.
  double validate(const Corpus& corpus, Index batch_size) {
    const double bits = text::validate(model_, corpus, batch_size, batch_, [](const auto&) {});
    curve_steps_.push_back(step_);
    curve_bits_.push_back(bits);
    return bits;
  }

  const std::string& name() const { return name_; }
  Model& model() { return model_; }
  Index steps_done() const { return step_; }
  double smoothed_bits() const { return smoothed_; }  ///< of the training batches
  std::vector<Measurement> curve() const {
    std::vector<Measurement> points;
    for (std::size_t i = 0; i < curve_steps_.size(); ++i) {
      points.push_back({curve_steps_[i], curve_bits_[i]});
    }
    return points;
  }
  moe::AdamW<float>& optimizer() { return optimizer_; }

  /// For --save: where training stands, besides the model and the optimizer.
  template <class F>
  void visit_state(F&& f) {
    f(std::string_view("step"), step_);
    f(std::string_view("tokens"), tokens_);
    f(std::string_view("seconds"), seconds_);
    f(std::string_view("smoothed"), smoothed_);
    f(std::string_view("curve_steps"), moe::AnySize<Index>{curve_steps_});
    f(std::string_view("curve_bits"), moe::AnySize<double>{curve_bits_});
  }

  double tokens_per_second() const {
    return seconds_ > 0 ? static_cast<double>(tokens_) / seconds_ : 0;
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::string name_;
  Model& model_;
  TrainOptions options_;
  moe::AdamW<float> optimizer_;
  moe::WarmupCosine schedule_;
  Index step_ = 0;
  Index tokens_ = 0;
  double seconds_ = 0;
  double smoothed_ = 0;
  std::vector<Index> curve_steps_;
  std::vector<double> curve_bits_;
  ByteBatch batch_;
};

}  // namespace text
