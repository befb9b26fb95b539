// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A drawing made of rectangles, lines and words, written as SVG.
#pragma once

#include <fstream>
#include <utility>
#include <vector>

#include "format.hpp"

namespace text {

struct Point {
  double x = 0;
  double y = 0;
};

enum class Anchor { start, middle, end };

/// Appends shapes in painting order; lengths in pixels, colours as CSS writes them.
class Svg {
 public:
  Svg(double width, double height) {
    body_ = format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
        "viewBox=\"0 0 %g %g\" font-family=\"Helvetica, Arial, sans-serif\">\n",
        width, height, width, height);
    rect({0, 0}, width, height, "#ffffff");
  }

  void rect(Point at, double width, double height, const std::string& fill, double radius = 0) {
    body_ += format(
        "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" rx=\"%g\" fill=\"%s\"/>\n",
        at.x, at.y, width, height, radius, fill.c_str());
  }

  void line(Point from, Point to, const std::string& stroke, double width = 1) {
    body_ += format(
        "<line x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\" stroke=\"%s\" "
        "stroke-width=\"%g\"/>\n",
        from.x, from.y, to.x, to.y, stroke.c_str(), width);
  }

  void path(const std::vector<Point>& points, const std::string& stroke, double width) {
    body_ +=
        "<polyline fill=\"none\" stroke-linejoin=\"round\" stroke-linecap=\"round\" stroke=\"" +
        stroke + format("\" stroke-width=\"%g\" points=\"", width);
    for (const Point& p : points) body_ += format("%.2f,%.2f ", p.x, p.y);
    body_ += "\"/>\n";
  }

  void circle(Point at, double radius, const std::string& fill) {
    body_ += format("<circle cx=\"%.2f\" cy=\"%.2f\" r=\"%g\" fill=\"%s\"/>\n", at.x, at.y, radius,
                    fill.c_str());
  }

  /// `at` is on the baseline. `turn` in degrees, clockwise, about `at`.
  void words(Point at, const std::string& words, double size, const std::string& fill,
             Anchor anchor = Anchor::start, bool bold = false, double turn = 0) {
    static constexpr const char* kAnchors[] = {"start", "middle", "end"};
    body_ += format("<text x=\"%.2f\" y=\"%.2f\" font-size=\"%g\" fill=\"%s\" text-anchor=\"%s\"",
                    at.x, at.y, size, fill.c_str(), kAnchors[static_cast<int>(anchor)]);
    if (bold) body_ += " font-weight=\"600\"";
    if (turn != 0) body_ += format(" transform=\"rotate(%g %.2f %.2f)\"", turn, at.x, at.y);
    body_.append(">").append(escaped(words)).append("</text>\n");
  }

  /// False when the file cannot be written.
  bool save(const std::string& path) const {
    std::ofstream file(path, std::ios::binary);
    file << body_ << "</svg>\n";
    file.close();
    return static_cast<bool>(file);
  }

 private:
  static std::string escaped(const std::string& words) {
    std::string out;
    for (const char c : words) {
      if (c == '&')
        out += "&amp;";
      else if (c == '<')
        out += "&lt;";
      else
        out += c;
    }
    return out;
  }

  std::string body_;
};

}  // namespace text
