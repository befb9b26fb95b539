// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What the programs share that change a trained text model: settings, two domains of text, training by
// stages, and a model that takes over another one's parameters.
#pragma once

#include <map>
#include <moe/core/thread_pool.hpp>
#include <moe/moe.hpp>

#include "interrupt.hpp"
#include "settings.hpp"
#include "trainer.hpp"

namespace text {

struct AdaptSettings {
  long long steps = 400, more = 200, batch = 512, experts = 4, top_k = 2, seed = 1, threads = 0;
  std::string fresh{};  ///< folder or file of the new domain; empty: Python of this project
  bool help = false;
  std::vector<std::string> paths{};
};

constexpr ModelDims kAdaptModel{.window = 12, .embedding = 24, .model = 128};

/// Reads the command line over `s`, the program's defaults; `extra` are options of its own.
inline AdaptSettings read_adapt_settings(const char* usage, AdaptSettings s,
                                         std::vector<Option> extra, int count, char** arguments) {
  std::vector<Option> options = {
      {"--steps", "training steps of the first model", &s.steps, 1, 1e8},
      {"--more", "training steps after the change", &s.more, 1, 1e8},
      {"--batch", "windows per step", &s.batch, 1, 1 << 20},
      {"--experts", "experts, E", &s.experts, 1, 4096},
      {"--top-k", "experts per byte, K", &s.top_k, 1, 4096},
      {"--seed", "of all randomness", &s.seed, 0, 9e15},
      {"--threads", "0: one per core; changes speed, never a result", &s.threads, 0, 1024},
      {"--help", "show this", &s.help},
  };
  options.insert(options.end() - 1, extra.begin(), extra.end());
  const std::string list = describe(options);
  s.paths = parse_arguments(options, count, arguments);
  if (s.top_k > s.experts) throw UsageError("--top-k must be at most --experts");
  if (s.help) std::printf("usage: %s\n\n%s", usage, list.c_str());
  return s;
}

inline Corpus read_corpus(const std::vector<std::string>& paths) {
  return Corpus(read_text(paths, std::size_t{64} << 20), kAdaptModel.window);
}

/// The text that a program starts with: the paths given, or this project's own.
inline Corpus first_domain(const AdaptSettings& s) {
  Settings places;
  places.paths = s.paths;
  return read_corpus(corpus_paths(places));
}

/// The text that comes later: `fresh`, or the Python scripts of this project's tests.
inline Corpus second_domain(const std::string& fresh) {
  if (!fresh.empty()) return read_corpus({fresh});
  std::vector<std::string> scripts;
#ifdef MOE_SOURCE_DIR
  const std::filesystem::path folder = std::filesystem::path(MOE_SOURCE_DIR) / "tests/golden";
  if (std::filesystem::is_directory(folder)) {
    for (const auto& file : detail::files_below(folder)) {
      if (file.extension() == ".py") scripts.push_back(file.string());
    }
  }
#endif
  if (scripts.empty()) throw UsageError("name the text of the new domain: --new FILE");
  return read_corpus(scripts);
}

/// `steps` steps on batches of draw(step, batch), with a line now and then; `after(step)` follows each.
template <class Model, class Draw, class After>
void train_stage(Trainer<Model>& trainer, Index steps, Draw&& draw, After&& after) {
  ByteBatch batch;
  for (Index step = 0; step < steps && !interrupted(); ++step) {
    draw(step, batch);
    trainer.step(batch);
    after(step);
    if ((step + 1) % std::max<Index>(steps / 4, 1) == 0) {
      std::printf("  %s: step %td, %.3f bits per byte in training\n", trainer.name().c_str(),
                  step + 1, trainer.smoothed_bits());
      std::fflush(stdout);
    }
  }
}

template <class Model>
void train_stage(Trainer<Model>& trainer, const Corpus& corpus, const AdaptSettings& s, Index steps,
                 std::uint64_t seed) {
  const auto draw = [&](Index step, ByteBatch& batch) { corpus.draw(seed, step, s.batch, batch); };
  train_stage(trainer, steps, draw, [](Index) {});
}

/// Bits per byte on a corpus's validation part.
template <class Model>
double bits_on(Model& model, const Corpus& corpus, Index batch_size) {
  ByteBatch batch;
  return validate(model, corpus, batch_size, batch, [](const auto&) {});
}

/// Gives `to` the parameters of `from` by name, all but those of the layer inside the block.
template <class From, class To>
void copy_around_layer(From& from, To& to) {
  std::map<std::string, moe::Parameter<float>*, std::less<>> by_name;
  from.visit_parameters([&](std::string_view name, auto& p) { by_name[std::string(name)] = &p; });
  to.visit_parameters([&](std::string_view name, auto& p) {
    if (!moe::names_parameter("layer", name)) p.value = by_name.at(std::string(name))->value;
  });
}

/// main() of these programs: a sentence and exit code 2 when the user is wrong.
template <class F>
int run_program(const char* name, F&& f) {
  try {
    catch_interrupt();
    f();
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
  }
  return 2;
}

}  // namespace text
