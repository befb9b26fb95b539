// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Heat map of what the experts read: one row per expert, one column per class of bytes.
#pragma once

#include "curves.hpp"
#include "specialization.hpp"

namespace text {

namespace detail {

/// Blue for rarer than average, white for average, red for more often; full colour at 4 times.
inline std::string lift_colour(double lift) {
  const double strength = lift <= 0 ? -1 : std::clamp(std::log2(lift) / 2, -1.0, 1.0);
  static constexpr double kWarm[] = {192, 57, 43}, kCold[] = {43, 108, 176};
  const double* end = strength > 0 ? kWarm : kCold;
  int rgb[3];
  for (int i = 0; i < 3; ++i) {
    rgb[i] = static_cast<int>(std::lround(255 + (end[i] - 255) * std::abs(strength)));
  }
  return format("#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
}

inline std::string percent(double share) {
  return share > 0 && share < 0.0095 ? format("%.1f", 100 * share) : format("%.0f", 100 * share);
}

inline void draw_row(Svg& svg, Point at, double cell, double height, const std::string& name,
                     const std::array<double, Specialization::kClasses>& share,
                     const std::array<double, Specialization::kClasses>& lift, bool bold) {
  const double size = std::min(12.0, height - 4);
  const double baseline = at.y + height / 2 + size / 3;
  svg.words({at.x - 8, baseline}, name, size, kInk, Anchor::end, bold);
  for (std::size_t c = 0; c < share.size(); ++c) {
    const Point corner{at.x + static_cast<double>(c) * cell, at.y};
    svg.rect({corner.x + 1, corner.y + 1}, cell - 2, height - 2, lift_colour(lift[c]), 2);
    const bool dark = lift[c] > 2.3 || lift[c] < 0.42;
    svg.words({corner.x + cell / 2, baseline}, percent(share[c]), size, dark ? "#ffffff" : kInk,
              Anchor::middle, bold);
  }
}

inline void draw_lift_scale(Svg& svg, Point at, double width) {
  constexpr int kSteps = 48;
  for (int i = 0; i < kSteps; ++i) {
    const double lift = std::exp2(4.0 * (i + 0.5) / kSteps - 2);
    svg.rect({at.x + width * i / kSteps, at.y}, width / kSteps + 0.5, 10, lift_colour(lift));
  }
  static constexpr const char* kMarks[] = {"1/4", "1/2", "1", "2", "4"};
  for (int i = 0; i < 5; ++i) {
    svg.words({at.x + width * i / 4, at.y + 24}, kMarks[i], 11, kSoftInk, Anchor::middle);
  }
  svg.words({at.x + width / 2, at.y + 40}, "colour: times the share over all experts", 12, kInk,
            Anchor::middle);
}

}  // namespace detail

/// Numbers are shares in percent of the bytes an expert reads, colours their lift; the bar at the
/// right is the expert's share of the work, the tick in it the balanced share.
inline void draw_heat_map(Svg& svg, const Frame& frame, const Specialization& s) {
  constexpr double kBar = 70, kAllRow = 24;
  const double cell = (frame.width - kBar - 12) / static_cast<double>(Specialization::kClasses);
  const double height = (frame.height - kAllRow - 8) / static_cast<double>(s.experts());
  const double right = frame.left + cell * static_cast<double>(Specialization::kClasses) + 12;
  std::array<double, Specialization::kClasses> share{}, lift{};
  for (std::size_t c = 0; c < Specialization::kClasses; ++c) {
    svg.words({frame.left + cell * (static_cast<double>(c) + 0.5), frame.top - 8},
              std::string(kByteClasses[c]), 12, kInk, Anchor::middle);
    share[c] = s.share(c);
    lift[c] = 1;
  }
  svg.words({right, frame.top - 8}, "load, %", 12, kInk);
  detail::draw_row(svg, {frame.left, frame.top}, cell, kAllRow, "all", share, lift, true);
  for (std::size_t e = 0; e < s.experts(); ++e) {
    for (std::size_t c = 0; c < Specialization::kClasses; ++c) {
      share[c] = s.share(e, c);
      lift[c] = s.lift(e, c);
    }
    const double top = frame.top + kAllRow + 8 + height * static_cast<double>(e);
    detail::draw_row(svg, {frame.left, top}, cell, height, format("expert %zu", e), share, lift,
                     false);
    const double balanced = kBar / 2, load = s.load(e) * static_cast<double>(s.experts());
    const double thick = std::max(height - 10, 3.0);
    svg.rect({right, top + (height - thick) / 2}, std::min(load * balanced, kBar), thick, "#9aa5b1",
             2);
    svg.line({right + balanced, top + 1}, {right + balanced, top + height - 1}, kInk);
    if (height >= 14) {
      svg.words({right + kBar + 6, top + height / 2 + 4}, detail::percent(s.load(e)), 12, kSoftInk);
    }
  }
  detail::draw_lift_scale(svg, {frame.left, frame.top + frame.height + 18}, right - frame.left);
}

}  // namespace text
