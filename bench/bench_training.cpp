// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// One training step of a layer without the optimizer: forward on a tape, backward, gradients added.
#include <memory>

#include "main.hpp"
#include "runners.hpp"

namespace bench {
namespace {

class Trainer {
 public:
  virtual ~Trainer() = default;
  virtual void set_threads(int count) = 0;
  virtual void step(Index tokens) = 0;
  /// What the tape holds between forward and backward in proportion to the batch.
  virtual double saved_bytes() const = 0;
};

template <class Expert>
class LayerTrainer : public Trainer {
 public:
  explicit LayerTrainer(const Shape& shape) : layer_(random_layer<Expert>(shape, Dtype::f32)) {}

  void set_threads(int count) override {
    tape_.executor = count == 1 ? moe::ExecutorRef() : moe::ExecutorRef(pool(count));
  }

  void step(Index tokens) override {
    if (x_.rows() != tokens) {
      for (auto* m : {&x_, &y_, &dy_, &dx_}) m->resize(tokens, layer_.model_dim());
      fill_uniform(77, std::sqrt(3.0f), x_.data(), x_.size());
      fill_uniform(78, std::sqrt(3.0f), dy_.data(), dy_.size());
    }
    layer_.forward(x_, y_, tape_);
    layer_.backward(dy_, dx_, tape_);
  }

  double saved_bytes() const override {
    const auto& saved = tape_.experts.saved;
    return 4.0 * static_cast<double>(tape_.x.size() + saved.in.size() + saved.gate.size());
  }

 private:
  LayerOf<Expert> layer_;
  typename LayerOf<Expert>::Tape tape_;
  moe::Matrix<float> x_, y_, dy_, dx_;
};

/// Kept until another shape's row runs.
Trainer& trainer(const Shape& shape) {
  static std::unique_ptr<Trainer> current;
  static std::string_view current_name;
  if (current_name != shape.name) {
    current.reset();
    current = with_expert(shape, [&]<class Expert>() -> std::unique_ptr<Trainer> {
      return std::make_unique<LayerTrainer<Expert>>(shape);
    });
    current_name = shape.name;
  }
  return *current;
}

/// Forward, gradient of the input, gradient of the weights: three times the forward's products. The
/// activation is computed again in backward and not counted.
void run(benchmark::State& state, const Shape& shape, Index tokens, int threads) {
  Trainer& t = trainer(shape);
  t.set_threads(threads);
  static std::string warm;
  const std::string now = std::string(shape.name) + std::to_string(tokens);
  if (warm != now) t.step(tokens);  // the tape and the gradients get their memory
  warm = now;

  const double start = seconds_now();
  for (auto _ : state) t.step(tokens);
  const double seconds = (seconds_now() - start) / static_cast<double>(state.iterations());
  const double flops = 3 * shape.forward_flops(tokens);
  state.counters["gflops"] = flops / seconds * 1e-9;
  state.counters["flops_share"] = flops / seconds / peak_flops(Dtype::f32, threads);
  state.counters["saved_MB"] = t.saved_bytes() * 1e-6;
}

}  // namespace

void add_benchmarks() {
  for (const Shape& shape : kShapes) {
    if (shape.name == "qwen3_30b") continue;  // four gigabytes more for what olmoe shows, too
    const Index tokens = shape.tokens.back();
    for (const int threads : {1, 2}) {
      const std::string name = "training/" + std::string(shape.name) +
                               "/f32/T:" + std::to_string(tokens) +
                               "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        run(state, shape, tokens, threads);
      })->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace bench
