// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Trains the text model's MoE block with each gate on the same batches and prints quality, balance,
// drops and speed side by side. Usage: compare_gates [options] [files or folders]; --help.
#include <moe/core/thread_pool.hpp>
#include <moe/moe.hpp>

#include "text/interrupt.hpp"
#include "text/settings.hpp"
#include "text/trainer.hpp"

namespace {

struct Settings {
  long long steps = 400, batch = 512, seed = 1, threads = 0, experts = 8, top_k = 2;
  bool csv = false, help = false;
  std::vector<std::string> paths;
};

constexpr text::ModelDims kModel{.window = 12, .embedding = 24, .model = 128};
constexpr moe::Index kHidden = 64;

Settings read_settings(int count, char** arguments) {
  Settings s;
  const text::Option options[] = {
      {"--steps", "training steps of each gate", &s.steps, 1, 1e8},
      {"--batch", "windows per step", &s.batch, 1, 1 << 20},
      {"--experts", "experts, E", &s.experts, 2, 4096},
      {"--top-k", "experts per byte, K, or their mean where it varies", &s.top_k, 1, 4096},
      {"--seed", "of all randomness", &s.seed, 0, 9e15},
      {"--threads", "0: one per core; changes speed, never a result", &s.threads, 0, 1024},
      {"--csv", "comma-separated values instead of a table", &s.csv},
      {"--help", "show this", &s.help},
  };
  const std::string list = text::describe(options);
  s.paths = text::parse_arguments(options, count, arguments);
  if (s.top_k >= s.experts) throw text::UsageError("--top-k must be below --experts");
  if (s.help) std::printf("usage: compare_gates [options] [files or folders]\n\n%s", list.c_str());
  return s;
}

/// What one gate came to.
struct Row {
  std::string gate;
  double bits_per_byte, load_cv, dropped_share, experts_per_token, tokens_per_s;
};

void print(const Row& r, bool csv) {
  std::printf(csv ? "%s,%.6f,%.4f,%.4f,%.0f\n" : "%-26s %10.4f %9.3f %9.4f %11.0f", r.gate.c_str(),
              r.bits_per_byte, r.load_cv, r.dropped_share, r.tokens_per_s);
  if (!csv) std::printf(" %12.2f\n", r.experts_per_token);
  std::fflush(stdout);
}

/// Called with layer and tape before each backward.
template <class Router, class Gate, class Layer = moe::MoeLayer<float, Router, Gate>>
using Balancing = std::type_identity_t<std::function<void(Layer&, typename Layer::Tape&)>>;

/// Trains one layer and measures it on the validation text.
class Comparison {
 public:
  Comparison(const Settings& s, const text::Corpus& corpus, moe::ExecutorRef threads)
      : s_(s), corpus_(corpus), threads_(threads) {}

  /// `balancing(layer, tape)` stands in for the balance and z-loss of other gates.
  template <class GateType, class RouterType = moe::LinearRouter<float>>
  void run(const std::string& name, typename GateType::Options gate = {},
           moe::CapacityOptions capacity = {}, Balancing<RouterType, GateType> balancing = {}) {
    using Layer = moe::MoeLayer<float, RouterType, GateType>;
    using Model = text::ByteModel<text::Block<Layer>>;
    if (text::interrupted()) return;
    const auto seed = static_cast<std::uint64_t>(s_.seed);
    Layer layer({.model_dim = kModel.model,
                 .hidden_dim = kHidden,
                 .num_experts = s_.experts,
                 .top_k = std::is_same_v<GateType, moe::AuctionGate> ? 1 : s_.top_k,
                 .gate = std::move(gate),
                 .capacity = std::move(capacity)},
                seed);
    typename text::Block<Layer>::Options options;
    options.balancing = std::move(balancing);
    Model model(kModel, {std::move(layer), options, threads_}, seed, threads_);
    text::Trainer<Model> trainer(name, model, {.steps = s_.steps, .lr = 6e-3});
    text::ByteBatch batch;
    for (moe::Index step = 0; step < s_.steps && !text::interrupted(); ++step) {
      corpus_.draw(seed, step, s_.batch, batch);
      trainer.step(batch);
    }
    print(measure(name, trainer), s_.csv);
  }

 private:
  template <class Model>
  Row measure(const std::string& name, text::Trainer<Model>& trainer) {
    text::ByteBatch batch;
    moe::RoutingStats stats;
    double cv = 0, dropped = 0, slots = 0, tokens = 0, batches = 0;
    const double bits =
        text::validate(trainer.model(), corpus_, s_.batch, batch, [&](const text::ByteBatch& seen) {
          const auto& last = trainer.model().block().inference();
          moe::routing_stats(last.routing, last.plan, stats);
          cv += stats.load_cv;
          dropped += stats.dropped_share;
          slots += static_cast<double>(last.plan.count());
          tokens += static_cast<double>(seen.tokens());
          batches += 1;
        });
    return {
        name, bits, cv / batches, dropped / batches, slots / tokens, trainer.tokens_per_second()};
  }

  const Settings& s_;
  const text::Corpus& corpus_;
  moe::ExecutorRef threads_;
};

void compare_all(const Settings& s, Comparison& compare) {
  const auto k = static_cast<double>(s.top_k);
  const auto none = [](auto&, auto&) {};
  compare.run<moe::TopKGate>("top-k");
  compare.run<moe::TopKGate>("top-k, capacity 1.0", {}, {.factor = 1.0});
  compare.run<moe::TopKGate>("top-k, next best expert", {},
                             {.factor = 1.0, .overflow = moe::Overflow::next_best});
  compare.run<moe::TopKGate, moe::LearnedNoise<moe::LinearRouter<float>>>("top-k, learned noise");
  moe::TopKGate::Options sigmoid{.score = moe::ScoreFunction::sigmoid};
  sigmoid.selection_bias.assign(static_cast<std::size_t>(s.experts), 0.0F);
  compare.run<moe::TopKGate>("sigmoid, bias balanced", sigmoid, {}, [](auto& layer, auto& tape) {
    moe::BiasUpdate{.rate = 1e-2}(layer.gate().selection_bias(), tape.plan.demanded);
  });
  if (s.top_k == 2) compare.run<moe::GShardGate>("GShard");
  compare.run<moe::SparseMixerGate>("SparseMixer");
  compare.run<moe::ExpertChoiceGate>("expert choice (not causal)", {}, {}, none);
  compare.run<moe::TopPGate>("top-p");
  compare.run<moe::MinPGate>("min-p");
  // No z-loss: it pushes logits below the thresholds. Even so few experts stay above theirs, and an
  // expert that nobody uses does not learn.
  compare.run<moe::TopAnyGate<float>>(
      "top-any", {.initial_threshold = -2}, {},
      [](auto&, auto& tape) { tape.add_loss(moe::SwitchLoss{.coefficient = 1e-2}); });
  moe::ReluL1Controller l1;
  compare.run<moe::ReluGate>("ReLU", {}, {}, [&](auto&, auto& tape) {
    tape.add_loss(moe::ReluL1Loss{.lambda = l1.lambda, .target_k = k});
    l1.update(moe::ReluL1Controller::sparsity(tape.routing, tape.batch), k, s.experts);
  });
  compare.run<moe::SinkhornGate>("Sinkhorn", {}, {}, none);
  compare.run<moe::AuctionGate>("auction (K = 1)", {}, {}, none);
  compare.run<moe::QuantileGate>("quantile balancing", {}, {}, [](auto& layer, auto& tape) {
    const moe::MatrixView<const float> logits(tape.logits.data(), tape.tokens,
                                              tape.routing.num_experts());
    layer.gate().observe(logits, tape.batch);
    layer.gate().update();
  });
  compare.run<moe::DenseGate>("dense", {}, {}, none);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const Settings s = read_settings(count, arguments);
    if (s.help) return 0;
    text::Settings places;
    places.paths = s.paths;
    const text::Corpus corpus(text::read_text(text::corpus_paths(places), std::size_t{64} << 20),
                              kModel.window);
    moe::ThreadPool pool(s.threads > 0 ? s.threads : moe::ThreadPool::hardware_threads());
    text::catch_interrupt();
    std::printf(s.csv ? "%s,%s,%s,%s,%s\n" : "%-26s %10s %9s %9s %11s", "gate", "bits_per_byte",
                "load_cv", "dropped_share", "tokens_per_s");
    if (!s.csv) std::printf(" %12s\n", "experts/byte");
    Comparison compare(s, corpus, pool);
    compare_all(s, compare);
  } catch (const text::UsageError& error) {
    std::fprintf(stderr, "compare_gates: %s\n", error.what());
    return 2;
  }
}
