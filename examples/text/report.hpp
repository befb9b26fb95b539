// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The end of a run on paper: tables, a sample, the drawing, and the line for machines.
#pragma once

#include <string>
#include <vector>

#include "heat_map.hpp"

namespace text {

/// A trained model as a column of the report.
struct ModelSummary {
  std::string name;
  double bits_per_byte = 0;
  Index total_parameters = 0;
  Index active_parameters = 0;
  double tokens_per_second = 0;
};

template <class Model>
ModelSummary summarize(Trainer<Model>& trainer) {
  const double bits = trainer.curve().empty() ? 0 : trainer.curve().back().bits_per_byte;
  return {trainer.name(), bits, trainer.model().total_parameters(),
          trainer.model().active_parameters(), trainer.tokens_per_second()};
}

/// One row per figure, one column per model; the first model is compared with the others.
inline void print_summary(const std::vector<ModelSummary>& models) {
  const auto row = [&](const char* what, auto&& cell) {
    std::printf("%-24s", what);
    for (const ModelSummary& m : models) std::printf("%14s", cell(m).c_str());
    std::printf("\n");
  };
  row("", [](const ModelSummary& m) { return m.name; });
  row("validation bits/byte",
      [](const ModelSummary& m) { return format("%.4f", m.bits_per_byte); });
  row("parameters, total", [](const ModelSummary& m) { return grouped(m.total_parameters); });
  row("parameters, active", [](const ModelSummary& m) { return grouped(m.active_parameters); });
  row("training tokens/s",
      [](const ModelSummary& m) { return grouped(static_cast<long long>(m.tokens_per_second)); });
  for (std::size_t i = 1; i < models.size(); ++i) {
    const double ratio = models[0].bits_per_byte / models[i].bits_per_byte;
    std::printf("%s needs %.1f %% %s bits than %s.\n", models[0].name.c_str(),
                100 * std::abs(1 - ratio), ratio < 1 ? "fewer" : "more", models[i].name.c_str());
  }
}

/// Share of each class in what an expert reads, and how many times the average that is.
inline void print_specialization(const Specialization& s) {
  std::printf("What each expert reads, in %% of its bytes (times the share over all experts):\n");
  std::printf("%-8s%6s", "expert", "load");
  for (const auto name : kByteClasses) std::printf("   %-11s", std::string(name).c_str());
  std::printf(" marked by\n%-8s%6s", "all", "");
  for (std::size_t c = 0; c < s.kClasses; ++c) std::printf("%7.1f       ", 100 * s.share(c));
  std::printf("\n");
  for (std::size_t e = 0; e < s.experts(); ++e) {
    std::printf("%-8zu%6.1f", e, 100 * s.load(e));
    for (std::size_t c = 0; c < s.kClasses; ++c) {
      std::printf("%7.1f %-6s", 100 * s.share(e, c), format("(%.1f)", s.lift(e, c)).c_str());
    }
    std::printf(" %s\n", s.load(e) > 0 ? std::string(kByteClasses[s.mark(e)]).c_str() : "unused");
  }
}

/// Curves at the left, heat map at the right. False when the file cannot be written.
inline bool save_drawing(const std::string& path, const std::vector<Curve>& curves,
                         const Specialization& s, const std::string& subtitle) {
  const double body = std::max(300.0, 32 + 12.0 * static_cast<double>(s.experts()));
  Svg svg(1280, body + 190);
  svg.words({40, 38}, "A byte-level language model with a mixture of experts", 20, kInk,
            Anchor::start, true);
  svg.words({40, 60}, subtitle, 13, kSoftInk);
  svg.words({40, 94}, "Learning: lower is better", 14, kInk, Anchor::start, true);
  draw_curves(svg, {90, 125, 410, body}, curves);
  svg.words({620, 94}, "Specialization: what each expert reads, in % of its bytes", 14, kInk,
            Anchor::start, true);
  draw_heat_map(svg, {690, 125, 540, body}, s);
  return svg.save(path);
}

}  // namespace text
