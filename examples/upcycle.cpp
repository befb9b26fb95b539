// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Upcycling: trains a dense text model, makes its FFN the experts of an MoE layer without changing what
// the model computes, and trains both on. Usage: upcycle [options] [files or folders]; --help.
#include "text/adapt.hpp"

namespace {

using Layer = moe::MoeLayer<float>;  // linear router, top-k gate, SwiGLU experts
using Ffn = moe::FfnLayer<float>;    // one SwiGLU FFN
using MoeModel = text::ByteModel<text::Block<Layer>>;
using DenseModel = text::ByteModel<text::Block<Ffn>>;

constexpr moe::Index kHidden = 128;

struct Upcycling {
  double noise = 0, drop = 0;
  long long pieces = 1;
};

MoeModel upcycled(DenseModel& dense, const text::AdaptSettings& s, const Upcycling& how,
                  moe::ExecutorRef threads) {
  const auto seed = static_cast<std::uint64_t>(s.seed);
  Layer layer = moe::upcycle<Layer>(dense.block().layer().expert(),
                                    {.hidden_dim = kHidden / how.pieces,
                                     .num_experts = s.experts * how.pieces,
                                     .top_k = s.top_k * how.pieces},
                                    {.noise = how.noise, .drop = how.drop, .seed = seed});
  MoeModel model(text::kAdaptModel, {std::move(layer), {}, threads}, seed, threads);
  text::copy_around_layer(dense, model);
  return model;
}

/// How far the logits of two models are apart, on a batch of validation text.
template <class A, class B>
moe::OutputError logit_error(A& actual, B& expected, const text::Corpus& corpus) {
  text::ByteBatch batch;
  corpus.validation_batch(0, std::min<moe::Index>(512, corpus.validation_size()), batch);
  return moe::output_error<float>(actual.forward(batch.window), expected.forward(batch.window));
}

void run(const text::AdaptSettings& s, const Upcycling& how) {
  const text::Corpus corpus = text::first_domain(s);
  moe::ThreadPool pool(s.threads > 0 ? s.threads : moe::ThreadPool::hardware_threads());
  const auto seed = static_cast<std::uint64_t>(s.seed);

  std::printf("A dense model with one FFN of width %td:\n", kHidden);
  Ffn ffn({.model_dim = text::kAdaptModel.model, .hidden_dim = kHidden}, seed);
  DenseModel dense(text::kAdaptModel, {std::move(ffn), {}, pool}, seed, pool);
  text::Trainer first("dense", dense, {.steps = s.steps, .lr = 6e-3});
  text::train_stage(first, corpus, s, s.steps, seed);
  const double before = text::bits_on(dense, corpus, s.batch);

  MoeModel moe = upcycled(dense, s, how, pool);
  const moe::OutputError error = logit_error(moe, dense, corpus);
  const Layer& layer = moe.block().layer();
  std::printf(
      "\nIts FFN is now %td experts, %td for each byte; %s parameters became %s.\n"
      "Bits per byte: %.4f dense, %.4f upcycled; logits differ by %.1e of the largest.\n\n",
      layer.num_experts(), layer.top_k(), text::grouped(dense.total_parameters()).c_str(),
      text::grouped(moe.total_parameters()).c_str(), before, text::bits_on(moe, corpus, s.batch),
      error.relative);

  std::printf("Both trained on, with the same batches:\n");
  const text::TrainOptions options{.steps = s.more, .lr = 4e-3};
  text::Trainer sparse("upcycled", moe, options);
  text::Trainer second("dense", dense, options);
  text::train_stage(sparse, corpus, s, s.more, seed + 1);
  text::train_stage(second, corpus, s, s.more, seed + 1);
  const double moe_bits = text::bits_on(moe, corpus, s.batch);
  const double dense_bits = text::bits_on(dense, corpus, s.batch);
  std::printf("\nBits per byte of text that neither has seen: %.4f upcycled, %.4f dense.\n",
              moe_bits, dense_bits);
  std::printf("result: preserved_error=%s dense_bpb=%s moe_bpb=%s\n",
              text::exact(error.relative).c_str(), text::exact(dense_bits).c_str(),
              text::exact(moe_bits).c_str());
}

}  // namespace

int main(int count, char** arguments) {
  return text::run_program("upcycle", [&] {
    Upcycling how;
    const text::AdaptSettings s = text::read_adapt_settings(
        "upcycle [options] [files or folders]", {.steps = 1000, .more = 800, .experts = 8},
        {{"--noise", "added to each expert, of its weights' deviation", &how.noise, 0, 10},
         {"--drop", "share of hidden units each expert draws anew", &how.drop, 0, 1},
         {"--pieces", "experts that one FFN is cut into", &how.pieces, 1, kHidden}},
        count, arguments);
    if (!s.help) run(s, how);
  });
}
