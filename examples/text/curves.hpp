// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Learning curves: validation bits per byte over training steps.
#pragma once

#include <algorithm>
#include <cmath>

#include "svg.hpp"
#include "trainer.hpp"

namespace text {

inline constexpr const char* kInk = "#1f2933";
inline constexpr const char* kSoftInk = "#616e7c";
inline constexpr const char* kGrid = "#e4e7eb";

struct Curve {
  std::string name;
  std::string colour;
  std::vector<Measurement> points;
};

/// Where a panel stands in the drawing.
struct Frame {
  double left = 0;
  double top = 0;
  double width = 0;
  double height = 0;
};

/// Round numbers that cover [low, high] in about `count` steps: 1, 2 or 5 times a power of ten.
inline std::vector<double> ticks(double low, double high, int count) {
  const double raw = std::max(high - low, 1e-9) / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double ratio = raw / power;
  const double step = power * (ratio < 1.5 ? 1 : ratio < 3.5 ? 2 : ratio < 7.5 ? 5 : 10);
  std::vector<double> out;
  for (double i = std::ceil(low / step); i * step <= high + 1e-9; ++i) out.push_back(i * step);
  return out;
}

namespace detail {

/// From steps and bits to pixels.
struct Axes {
  Frame frame;
  double last_step = 1;
  double low = 0;
  double high = 8;

  Axes(const Frame& where, const std::vector<Curve>& curves) : frame(where) {
    low = 1e9;
    high = 0;
    for (const Curve& curve : curves) {
      for (const Measurement& m : curve.points) {
        last_step = std::max(last_step, static_cast<double>(m.step));
        low = std::min(low, m.bits_per_byte);
        high = std::max(high, m.bits_per_byte);
      }
    }
    const double margin = std::max(0.04 * (high - low), 0.01);
    low -= margin;
    high += margin;
  }

  double x(double step) const { return frame.left + frame.width * step / last_step; }
  double y(double bits) const { return frame.top + frame.height * (high - bits) / (high - low); }
};

inline void draw_grid(Svg& svg, const Axes& axes) {
  const Frame& f = axes.frame;
  const double bottom = f.top + f.height;
  for (const double bits : ticks(axes.low, axes.high, 6)) {
    const double y = axes.y(bits);
    svg.line({f.left, y}, {f.left + f.width, y}, kGrid);
    svg.words({f.left - 8, y + 4}, format("%g", bits), 12, kSoftInk, Anchor::end);
  }
  for (const double step : ticks(0, axes.last_step, 5)) {
    const double x = axes.x(step);
    svg.line({x, bottom}, {x, bottom + 5}, kSoftInk);
    svg.words({x, bottom + 20}, format("%g", step), 12, kSoftInk, Anchor::middle);
  }
  svg.line({f.left, bottom}, {f.left + f.width, bottom}, kSoftInk);
  svg.words({f.left + f.width / 2, bottom + 40}, "training step", 13, kInk, Anchor::middle);
  svg.words({f.left - 44, f.top + f.height / 2}, "validation bits per byte", 13, kInk,
            Anchor::middle, false, -90);
}

}  // namespace detail

/// Lower is better. Every curve ends with its last value; the legend stands in the upper right,
/// where curves that fall leave room.
inline void draw_curves(Svg& svg, const Frame& frame, const std::vector<Curve>& curves) {
  const detail::Axes axes(frame, curves);
  detail::draw_grid(svg, axes);
  double legend = frame.top + 14;
  std::vector<double> taken;
  for (const Curve& curve : curves) {
    std::vector<Point> line;
    for (const Measurement& m : curve.points) {
      line.push_back({axes.x(static_cast<double>(m.step)), axes.y(m.bits_per_byte)});
    }
    if (line.empty()) continue;
    svg.path(line, curve.colour, 2.5);
    svg.circle(line.back(), 4, curve.colour);
    double label = line.back().y + 4;
    for (const double other : taken) {
      if (std::abs(label - other) < 15) label = label >= other ? other + 15 : other - 15;
    }
    taken.push_back(label);
    svg.words({line.back().x + 9, label}, format("%.3f", curve.points.back().bits_per_byte), 13,
              curve.colour, Anchor::start, true);
    const double right = frame.left + frame.width;
    svg.line({right - 150, legend - 4}, {right - 126, legend - 4}, curve.colour, 2.5);
    svg.words({right - 118, legend}, curve.name, 13, kInk);
    legend += 20;
  }
}

}  // namespace text
