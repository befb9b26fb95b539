// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Continual learning: a text model meets a new kind of text, gets one expert for it, and keeps all else
// as it was. Usage: continual [options] [files or folders of the old text]; --help.
#include "text/adapt.hpp"

namespace {

/// ReLU routing: a byte uses every expert whose logit is above 0, with the logit as weight. A new expert
/// then adds to what the old ones give, and where its logit is 0 or less it changes nothing.
using Layer = moe::MoeLayer<float, moe::LinearRouter<float>, moe::ReluGate>;
using Model = text::ByteModel<text::Block<Layer>>;

constexpr moe::Index kHidden = 64;

/// Teaches the new expert's logit which text a batch is from: coefficient * the mean logistic loss.
struct DomainLoss {
  double coefficient = 0.3;
  bool is_new = false;

  template <class S>
  double operator()(const moe::LossInput<S>& in, moe::LossGradient<S>& gradient) const {
    const moe::Index e = in.num_experts() - 1;
    const double scale = coefficient / static_cast<double>(in.tokens()), sign = is_new ? 1 : -1;
    double value = 0;
    for (moe::Index t = 0; t < in.tokens(); ++t) {
      const double margin = sign * static_cast<double>(in.logits(t, e));
      value += scale * std::log1p(std::exp(-margin));
      gradient.dlogits(t, e) -= static_cast<S>(scale * sign / (1 + std::exp(margin)));
    }
    return value;
  }
};

/// Mean bits per byte of the model on training text, `batches` of it.
double bits_in_training_text(Model& model, const text::Corpus& corpus, std::uint64_t seed) {
  constexpr moe::Index kBatches = 40, kTokens = 512;
  text::ByteBatch batch;
  double nats = 0;
  for (moe::Index n = 0; n < kBatches; ++n) {
    corpus.draw(seed, n, kTokens, batch);
    nats += model.evaluate(batch);
  }
  return text::to_bits(nats / static_cast<double>(kBatches * kTokens));
}

/// Share of a corpus's validation bytes that expert e takes part in.
double share_of(Model& model, const text::Corpus& corpus, moe::Index e, moe::Index batch_size) {
  double taken = 0, all = 0;
  text::ByteBatch batch;
  text::validate(model, corpus, batch_size, batch, [&](const text::ByteBatch& seen) {
    taken += static_cast<double>(model.block().inference().plan.load(e));
    all += static_cast<double>(seen.tokens());
  });
  return taken / all;
}

/// Trains the new expert and its row of the router; nothing else moves. Every other batch is old text,
/// so that the row learns what is not for it. `new_batch` tells which.
void train_new_expert(Model& model, const text::Corpus& old_text, const text::Corpus& new_text,
                      const text::AdaptSettings& s, bool& new_batch) {
  moe::train_only(model, {"layer.router.weight", "layer.experts." + std::to_string(s.experts)});
  std::vector<moe::Index> old_experts(static_cast<std::size_t>(s.experts));
  std::iota(old_experts.begin(), old_experts.end(), moe::Index{0});
  const moe::FrozenRows<float> old_rows(model.block().layer().router().weight, old_experts);
  text::Trainer trainer("new expert", model, {.steps = s.more, .lr = 6e-3});
  const auto seed = static_cast<std::uint64_t>(s.seed) + 1;
  text::train_stage(
      trainer, s.more,
      [&](moe::Index step, text::ByteBatch& batch) {
        new_batch = step % 2 == 0;
        (new_batch ? new_text : old_text).draw(seed, step, s.batch, batch);
      },
      [&](moe::Index) { old_rows.restore(); });
}

/// Lowers the new expert's logit until old text is not worse than `before`; at the latest where it is
/// closed, for there the model computes the very bits it computed without the expert.
void protect(Model& model, const text::Corpus& old_text, double before, std::uint64_t seed) {
  Layer& layer = model.block().layer();
  float& bias = layer.router().bias.value(0, layer.num_experts() - 1);
  const float first = bias;
  for (const double lower : {0.0, -0.25, -0.5, -1.0, -2.0, -4.0, moe::kClosedLogit}) {
    bias = first + static_cast<float>(lower);
    const double now = bits_in_training_text(model, old_text, seed);
    std::printf("  new expert's logit %g lower: old text %.4f, was %.4f\n", 0 - lower, now, before);
    if (now <= before) return;
  }
}

void run(const text::AdaptSettings& s) {
  const text::Corpus old_text = text::first_domain(s), new_text = text::second_domain(s.fresh);
  moe::ThreadPool pool(s.threads > 0 ? s.threads : moe::ThreadPool::hardware_threads());
  const auto seed = static_cast<std::uint64_t>(s.seed);

  std::printf("A model with %lld experts learns the old text:\n", s.experts);
  Layer layer({.model_dim = text::kAdaptModel.model,
               .hidden_dim = kHidden,
               .num_experts = s.experts,
               .top_k = s.top_k,
               .router = {.bias = true}},
              seed);
  text::Block<Layer>::Options options;
  moe::ReluL1Controller l1;
  bool growing = false, new_batch = false;
  options.balancing = [&](Layer&, Layer::Tape& tape) {
    if (growing) {  // the new expert is not to be balanced with the old ones
      tape.add_loss(DomainLoss{.is_new = new_batch});
      return;
    }
    const auto k = static_cast<double>(s.top_k);
    tape.add_loss(moe::ReluL1Loss{.lambda = l1.lambda, .target_k = k});
    l1.update(moe::ReluL1Controller::sparsity(tape.routing, tape.batch), k, s.experts);
  };
  Model model(text::kAdaptModel, {std::move(layer), options, pool}, seed, pool);
  text::Trainer trainer("old text", model, {.steps = s.steps, .lr = 6e-3});
  text::train_stage(trainer, old_text, s, s.steps, seed);
  const double old_before = text::bits_on(model, old_text, s.batch);
  const double new_before = text::bits_on(model, new_text, s.batch);
  const double old_training = bits_in_training_text(model, old_text, seed + 2);

  growing = true;
  Layer& grown = model.block().layer();
  moe::add_expert(grown, {.seed = seed});
  grown.expert(s.experts).w_out.value.setZero();  // gives nothing yet, so nothing has changed
  std::printf("\nExpert %lld learns the new text; %s of %s parameters train:\n", s.experts,
              text::grouped(moe::parameter_count(grown.expert(0)) + grown.model_dim()).c_str(),
              text::grouped(model.total_parameters()).c_str());
  train_new_expert(model, old_text, new_text, s, new_batch);
  protect(model, old_text, old_training, seed + 2);

  const double old_after = text::bits_on(model, old_text, s.batch);
  const double new_after = text::bits_on(model, new_text, s.batch);
  std::printf("\n%-10s %22s %22s\n", "text", "bits per byte, before", "with the new expert");
  std::printf("%-10s %22.4f %22.4f\n%-10s %22.4f %22.4f\n", "old", old_before, old_after, "new",
              new_before, new_after);
  std::printf("The new expert takes part in %.0f %% of old bytes and %.0f %% of new ones.\n",
              100 * share_of(model, old_text, s.experts, s.batch),
              100 * share_of(model, new_text, s.experts, s.batch));
  std::printf("result: old_bpb_before=%s old_bpb_after=%s new_bpb_before=%s new_bpb_after=%s\n",
              text::exact(old_before).c_str(), text::exact(old_after).c_str(),
              text::exact(new_before).c_str(), text::exact(new_after).c_str());
}

}  // namespace

int main(int count, char** arguments) {
  return text::run_program("continual", [&] {
    text::AdaptSettings s{.steps = 800, .more = 800};
    s = text::read_adapt_settings("continual [options] [files or folders of the old text]", s,
                                  {{"--new", "file or folder of the new text", &s.fresh}}, count,
                                  arguments);
    if (!s.help) run(s);
  });
}
