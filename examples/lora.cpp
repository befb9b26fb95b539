// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// LoRA: a trained text model is fitted to another kind of text by small adapters on its router and
// experts, which are then merged and taken out again. Usage: lora [options] [files or folders]; --help.
#include "text/adapt.hpp"

namespace {

using Layer = moe::MoeLayer<float>;  // linear router, top-k gate, SwiGLU experts
using Adapted = moe::LoraLayer<float, moe::TopKGate, moe::GatedFfn<float>>;
using Model = text::ByteModel<text::Block<Layer>>;
using AdaptedModel = text::ByteModel<text::Block<Adapted>>;

constexpr moe::Index kHidden = 64;

/// The same model around another layer.
template <class To, class From, class L>
To with_layer(From& model, L layer, moe::ExecutorRef threads) {
  To next(text::kAdaptModel, {std::move(layer), {}, threads}, 0, threads);
  text::copy_around_layer(model, next);
  return next;
}

template <class A, class B>
double logit_error(A& actual, B& expected, const text::Corpus& corpus) {
  text::ByteBatch batch;
  corpus.validation_batch(0, std::min<moe::Index>(512, corpus.validation_size()), batch);
  return moe::output_error<float>(actual.forward(batch.window), expected.forward(batch.window))
      .relative;
}

void run(const text::AdaptSettings& s, moe::LoraOptions options) {
  const text::Corpus old_text = text::first_domain(s), new_text = text::second_domain(s.fresh);
  moe::ThreadPool pool(s.threads > 0 ? s.threads : moe::ThreadPool::hardware_threads());
  const auto seed = static_cast<std::uint64_t>(s.seed);

  std::printf("A model with %lld experts learns the old text:\n", s.experts);
  Layer layer({.model_dim = text::kAdaptModel.model,
               .hidden_dim = kHidden,
               .num_experts = s.experts,
               .top_k = s.top_k},
              seed);
  Model base(text::kAdaptModel, {std::move(layer), {}, pool}, seed, pool);
  text::Trainer first("old text", base, {.steps = s.steps, .lr = 6e-3});
  text::train_stage(first, old_text, s, s.steps, seed);
  const double before = text::bits_on(base, new_text, s.batch);
  const double old_before = text::bits_on(base, old_text, s.batch);

  moe::AddLora where{.experts = options, .router = options, .seed = seed};
  where.router.rank = std::min<moe::Index>(options.rank, s.experts / 2);
  AdaptedModel adapted =
      with_layer<AdaptedModel>(base, moe::add_lora(base.block().layer(), where), pool);
  const moe::Index trained =
      moe::train_only(adapted, {"layer.router.lora", "layer.experts.*.lora"});
  const double share =
      static_cast<double>(trained) / static_cast<double>(adapted.total_parameters());
  std::printf(
      "\nAdapters of rank %td on router and experts learn the new text; %s of %s parameters "
      "train:\n",
      options.rank, text::grouped(trained).c_str(),
      text::grouped(adapted.total_parameters()).c_str());
  text::Trainer second("adapters", adapted, {.steps = s.more, .lr = 6e-3, .weight_decay = 0});
  text::train_stage(second, new_text, s, s.more, seed + 1);
  const double after = text::bits_on(adapted, new_text, s.batch);

  Model merged = with_layer<Model>(adapted, moe::merged_layer(adapted.block().layer()), pool);
  const double error = logit_error(merged, adapted, new_text);
  Adapted& inside = adapted.block().layer();
  moe::merge_lora(inside);
  moe::unmerge_lora(inside);
  const bool restored =
      inside.expert(0).base().w_in.value == base.block().layer().expert(0).w_in.value;
  std::printf("\n%-28s %10s %10s\n", "bits per byte", "old text", "new text");
  std::printf("%-28s %10.4f %10.4f\n%-28s %10.4f %10.4f\n", "base", old_before, before,
              "with adapters", text::bits_on(adapted, old_text, s.batch), after);
  std::printf("%-28s %10.4f %10.4f\n", "merged, a plain layer",
              text::bits_on(merged, old_text, s.batch), text::bits_on(merged, new_text, s.batch));
  std::printf("Taken out again, the base has %s it had: it still knows the old text.\n",
              restored ? "every bit" : "not the bits");
  std::printf("result: trained_share=%s bpb_before=%s bpb_after=%s merge_error=%s\n",
              text::exact(share).c_str(), text::exact(before).c_str(), text::exact(after).c_str(),
              text::exact(error).c_str());
}

}  // namespace

int main(int count, char** arguments) {
  return text::run_program("lora", [&] {
    text::AdaptSettings s{.steps = 800, .more = 300};
    long long rank = 4;
    double alpha = 8;
    s = text::read_adapt_settings(
        "lora [options] [files or folders of the old text]", s,
        {{"--new", "file or folder of the new text", &s.fresh},
         {"--rank", "of the adapters", &rank, 1, kHidden},
         {"--alpha", "their change is scaled by alpha / rank", &alpha, 0, 1e4}},
        count, arguments);
    if (!s.help) run(s, {.rank = rank, .alpha = alpha});
  });
}
