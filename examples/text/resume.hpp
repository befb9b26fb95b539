// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// --save and --resume: a whole training in one safetensors file, its layer under the name that
// moe::load_layer looks for.
#pragma once

#include "settings.hpp"
#include "trainer.hpp"
#if __has_include(<nlohmann/json.hpp>)
#include <moe/io.hpp>
#define TEXT_HAS_IO
#endif

namespace text {

/// A model without its MoE layer, which is saved as a part of its own.
template <class Model>
struct AroundLayer {
  Model& model;

  template <class F>
  void visit_parameters(F&& f) {
    model.visit_parameters([&](std::string_view name, moe::Parameter<float>& p) {
      if (!name.starts_with("layer.")) f(name, p);
    });
  }
};

/// What decides the course of a run besides what is saved; a resumed run must be told the same.
class RunFacts {
 public:
  RunFacts(const Settings& s, const Corpus& corpus)
      : facts_{{{"--seed", static_cast<double>(s.seed)},
                {"--steps", static_cast<double>(s.steps)},
                {"--batch", static_cast<double>(s.batch)},
                {"--lr", s.lr},
                {"--balance", s.balance},
                {"the text's fingerprint", fingerprint(corpus.library().bytes)}}} {}

  /// Throws UsageError naming the first that is not as it was saved.
  void check(const RunFacts& saved) const {
    for (std::size_t i = 0; i < facts_.size(); ++i) {
      if (facts_[i].value != saved.facts_[i].value) {
        throw UsageError(format("--resume: %s is %.15g, the saved run had %.15g", facts_[i].name,
                                facts_[i].value, saved.facts_[i].value));
      }
    }
  }

  template <class F>
  void visit_state(F&& f) {
    for (Fact& fact : facts_) f(std::string_view(fact.name), fact.value);
  }

 private:
  struct Fact {
    const char* name;
    double value;
  };

  /// 52 bits of FNV-1a: exact in a double.
  template <class Bytes>
  static double fingerprint(const Bytes& bytes) {
    std::uint64_t h = 0xCBF29CE484222325u;
    for (const auto b : bytes) h = (h ^ static_cast<unsigned char>(b)) * 0x100000001B3u;
    return static_cast<double>(h >> 12);
  }

  std::array<Fact, 6> facts_;
};

#ifdef TEXT_HAS_IO

/// f(state) with everything that the trainers consist of, the first one's layer as "layer".
template <class F, class First, class... Rest>
void with_state(RunFacts& facts, F&& f, Trainer<First>& first, Trainer<Rest>&... rest) {
  moe::SavedState state;
  AroundLayer<First> around{first.model()};
  state.add("layer", first.model().block().layer()).add("model", around);
  state.add("optimizer", first.optimizer(), first.model()).add("progress", first);
  (state.add("twin", rest.model()), ...);
  (state.add("twin_optimizer", rest.optimizer(), rest.model()), ...);
  (state.add("twin_progress", rest), ...);
  state.add("settings", facts);
  f(state);
}

/// Throws UsageError when the file cannot be written, after which an older one is still there.
template <class... Trainers>
void save_run(const Settings& s, const Corpus& corpus, Trainers&... trainers) {
  if (s.save.empty()) return;
  RunFacts facts(s, corpus);
  try {
    with_state(
        facts, [&](const moe::SavedState& state) { state.save(s.save); }, trainers...);
  } catch (const moe::FileError& error) {
    throw UsageError(std::string("--save: ") + error.what());
  }
  std::printf("Saved: %s\n", s.save.c_str());
}

/// Continues the file's run. Throws UsageError when it is not of the same models, settings and text.
template <class... Trainers>
void resume_run(const Settings& s, const Corpus& corpus, Trainers&... trainers) {
  if (s.resume.empty()) return;
  const RunFacts asked(s, corpus);
  RunFacts saved = asked;
  try {
    with_state(
        saved, [&](const moe::SavedState& state) { state.load(s.resume); }, trainers...);
  } catch (const moe::FileError& error) {
    throw UsageError(std::string("--resume: ") + error.what());
  }
  asked.check(saved);
}

#else

template <class... Trainers>
void save_run(const Settings& s, const Corpus&, Trainers&...) {
  if (!s.save.empty()) throw UsageError("--save: built without nlohmann_json");
}
template <class... Trainers>
void resume_run(const Settings& s, const Corpus&, Trainers&...) {
  if (!s.resume.empty()) throw UsageError("--resume: built without nlohmann_json");
}

#endif

}  // namespace text
