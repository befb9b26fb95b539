// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Trains a byte-level language model with a mixture of experts on any text, beside a dense twin of
// the same active size. Usage: train_text [options] [files or folders]; --help lists the options.
#include <moe/core/thread_pool.hpp>
#include <moe/moe.hpp>

#include "text/generate.hpp"
#include "text/report.hpp"
#include "text/resume.hpp"
#include "text/settings.hpp"
#include "text/train_together.hpp"

namespace {

using Layer = moe::MoeLayer<float>;  // linear router, top-k gate, SwiGLU experts
using Ffn = moe::FfnLayer<float>;    // one SwiGLU FFN
using MoeModel = text::ByteModel<text::Block<Layer>>;
using DenseModel = text::ByteModel<text::Block<Ffn>>;

constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

text::ModelDims model_dims(const text::Settings& s) {
  return {.window = s.window, .embedding = s.embedding, .model = s.dim};
}

MoeModel make_moe(const text::Settings& s, std::uint64_t seed, moe::ExecutorRef threads) {
  Layer layer(
      {.model_dim = s.dim, .hidden_dim = s.hidden, .num_experts = s.experts, .top_k = s.top_k},
      seed);
  text::Block<Layer>::Options options;
  options.balance.coefficient = s.balance;
  return {model_dims(s), {std::move(layer), options, threads}, seed, threads};
}

/// The same model, its block one FFN as wide as the K experts that a token meets.
DenseModel make_dense(const text::Settings& s, std::uint64_t seed, moe::ExecutorRef threads) {
  Ffn layer({.model_dim = s.dim, .hidden_dim = s.top_k * s.hidden}, seed);
  return {model_dims(s), {std::move(layer), {}, threads}, seed, threads};
}

/// Asks the trained model for the experts of every validation byte.
text::Specialization specialization(MoeModel& model, const text::Corpus& corpus, moe::Index batch) {
  text::Specialization found(model.block().layer().num_experts());
  text::ByteBatch scratch;
  text::validate(model, corpus, batch, scratch, [&](const text::ByteBatch& seen) {
    found.add(model.block().inference().routing, seen);
  });
  return found;
}

void print_sample(MoeModel& model, const text::Corpus& corpus, std::uint64_t seed) {
  text::ByteBatch first;
  corpus.validation_batch(0, 1, first);
  const std::string prompt(first.window.begin(), first.window.end());
  std::printf("\nWhat it writes after \"%s\":\n", text::printable(prompt).c_str());
  const std::string sample = text::generate(model, prompt, 400, /*temperature=*/0.7, seed);
  std::printf("----\n%s\n----\n", text::printable(sample).c_str());
}

/// Trains and reports. `Twin` is empty with --no-dense. False when the drawing cannot be saved.
template <class... Twin>
bool run(const text::Settings& s, const text::Corpus& corpus, text::Trainer<MoeModel>& moe,
         Twin&... twin) {
  const auto seed = static_cast<std::uint64_t>(s.seed);
  text::resume_run(s, corpus, moe, twin...);
  text::train_together(corpus, seed, s.steps, s.batch, moe, twin...);
  text::save_run(s, corpus, moe, twin...);

  const std::vector<text::ModelSummary> models = {text::summarize(moe), text::summarize(twin)...};
  std::printf("\n");
  text::print_summary(models);
  const text::Specialization experts = specialization(moe.model(), corpus, s.batch);
  std::printf("\n");
  text::print_specialization(experts);
  print_sample(moe.model(), corpus, seed);

  const std::vector<text::Curve> curves = {{twin.name(), "#d97706", twin.curve()}...,
                                           {moe.name(), "#2563eb", moe.curve()}};
  const std::string subtitle = text::format(
      "%lld experts, %lld per byte, %s of %s parameters active; window %lld bytes, %td "
      "steps of %lld bytes, seed %lld",
      s.experts, s.top_k, text::grouped(models[0].active_parameters).c_str(),
      text::grouped(models[0].total_parameters).c_str(), s.window, moe.steps_done(), s.batch,
      s.seed);
  const bool saved = text::save_drawing(s.svg, curves, experts, subtitle);
  if (saved) std::printf("Curves and heat map: %s\n", s.svg.c_str());
  const std::string dense = models.size() > 1 ? text::exact(models[1].bits_per_byte) : "nan";
  std::printf(
      "result: moe_bpb=%s dense_bpb=%s moe_params=%td active_params=%td tokens_per_s=%.0f\n",
      text::exact(models[0].bits_per_byte).c_str(), dense.c_str(), models[0].total_parameters,
      models[0].active_parameters, models[0].tokens_per_second);
  if (!saved) std::fprintf(stderr, "train_text: '%s' cannot be written\n", s.svg.c_str());
  return saved;
}

bool run(const text::Settings& s) {
  const text::Corpus corpus(text::read_text(text::corpus_paths(s), kMaxBytes), s.window);
  const text::Library& library = corpus.library();
  std::printf(
      "%s bytes of text from %zu files (%zu skipped%s); %td positions to train on, %td held "
      "out for validation\n",
      text::grouped(std::ssize(library.bytes)).c_str(), library.files, library.skipped,
      library.truncated ? ", the rest left out" : "", corpus.train().size(),
      corpus.validation_size());
  moe::ThreadPool pool(s.threads > 0 ? s.threads : moe::ThreadPool::hardware_threads());
  const auto seed = static_cast<std::uint64_t>(s.seed);
  const text::TrainOptions options{.steps = s.steps, .lr = s.lr};
  text::catch_interrupt();
  MoeModel moe_model = make_moe(s, seed, pool);
  text::Trainer moe("MoE", moe_model, options);
  if (!s.dense) return run(s, corpus, moe);
  DenseModel dense_model = make_dense(s, seed, pool);
  text::Trainer dense("dense twin", dense_model, options);
  return run(s, corpus, moe, dense);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const text::Settings settings = text::read_settings(count, arguments);
    return settings.help || run(settings) ? 0 : 1;
  } catch (const text::UsageError& error) {
    std::fprintf(stderr, "train_text: %s\n", error.what());
    return 2;
  }
}
