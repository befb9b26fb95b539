// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What the experts came to specialize in: experts by classes of bytes.
#pragma once

#include <array>
#include <cmath>
#include <string_view>
#include <vector>

#include "byte_model.hpp"

namespace text {

inline constexpr std::array<std::string_view, 7> kByteClasses = {
    "lower case", "capitals", "digits", "space", "newline", "punctuation", "other"};

/// Index into kByteClasses. "other": UTF-8 beyond ASCII, control characters, ends of files.
constexpr std::size_t byte_class(std::uint8_t byte) {
  if (byte >= 'a' && byte <= 'z') return 0;
  if (byte >= 'A' && byte <= 'Z') return 1;
  if (byte >= '0' && byte <= '9') return 2;
  if (byte == ' ' || byte == '\t') return 3;
  if (byte == '\n' || byte == '\r') return 4;
  if (byte > ' ' && byte < 127) return 5;
  return 6;
}

/// How often each expert was given each class. The class of a window is that of its last byte, the
/// one just read.
class Specialization {
 public:
  static constexpr std::size_t kClasses = kByteClasses.size();

  explicit Specialization(Index experts) : counts_(static_cast<std::size_t>(experts)) {}

  /// Adds the choices made for one batch.
  void add(const moe::Routing<float>& routing, const ByteBatch& batch) {
    const std::size_t window = batch.window.size() / batch.target.size();
    for (Index t = 0; t < routing.tokens(); ++t) {
      const std::size_t last = (static_cast<std::size_t>(t) + 1) * window - 1;
      const std::size_t c = byte_class(batch.window[last]);
      for (Index j = 0; j < routing.top_k(); ++j) {
        const std::int32_t e = routing.expert(t, j);
        if (e == moe::kNoExpert) continue;
        counts_[static_cast<std::size_t>(e)][c] += 1;
        all_[c] += 1;
      }
    }
  }

  std::size_t experts() const { return counts_.size(); }

  /// Share of the work that expert e does.
  double load(std::size_t e) const { return ratio(sum(counts_[e]), sum(all_)); }
  /// Share of class c in what all experts together are given.
  double share(std::size_t c) const { return ratio(all_[c], sum(all_)); }
  /// Share of class c in what expert e is given.
  double share(std::size_t e, std::size_t c) const { return ratio(counts_[e][c], sum(counts_[e])); }
  /// How many times more often expert e is given class c than an average expert.
  double lift(std::size_t e, std::size_t c) const { return ratio(share(e, c), share(c)); }

  /// The class that marks expert e: the largest share * log(lift), its part of the divergence from
  /// the average, so that neither a rare class nor a common one wins by that alone.
  std::size_t mark(std::size_t e) const {
    std::size_t best = 0;
    double most = -1;
    for (std::size_t c = 0; c < kClasses; ++c) {
      const double gain = lift(e, c) > 0 ? share(e, c) * std::log(lift(e, c)) : 0;
      if (gain > most) best = c, most = gain;
    }
    return best;
  }

 private:
  using Row = std::array<double, kClasses>;

  static double sum(const Row& row) { return std::accumulate(row.begin(), row.end(), 0.0); }
  static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

  std::vector<Row> counts_;
  Row all_{};
};

}  // namespace text
