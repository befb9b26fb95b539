// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Progress of a training run: a live line pair on a terminal, plain lines elsewhere.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "format.hpp"
#include "parts.hpp"

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif
#if __has_include(<sys/ioctl.h>)
#include <sys/ioctl.h>
#endif

namespace text {

/// What a line of progress tells.
struct Status {
  Index step = 0;
  Index steps = 1;
  std::vector<std::pair<std::string_view, double>> bits_per_byte;  ///< of each model, by name
  double tokens_per_second = 0;
  std::vector<double> load;  ///< share of each expert, empty without experts
};

namespace detail {

/// A horizontal bar of `cells` characters, filled to `share` in eighths of a cell.
inline std::string bar(double share, Index cells) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto filled =
      static_cast<Index>(std::lround(std::clamp(share, 0.0, 1.0) * static_cast<double>(cells * 8)));
  std::string out;
  for (Index i = 0; i < filled / 8; ++i) out += "█";
  out += kEighths[filled % 8];
  const Index blank = cells - filled / 8 - (filled % 8 == 0 ? 0 : 1);
  return out + std::string(static_cast<std::size_t>(blank), ' ');
}

/// One character, filled from below to `share`.
inline std::string column(double share) {
  static constexpr const char* kHeights[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  return kHeights[std::lround(std::clamp(share, 0.0, 1.0) * 8)];
}

/// One bar per expert, half full at the balanced share; columns when there is no room for more.
inline std::string expert_bars(const std::vector<double>& load, Index width) {
  const auto experts = static_cast<double>(load.size());
  const Index cells = std::min<Index>(width / std::ssize(load) - 5, 8);
  std::string out;
  for (std::size_t e = 0; e < load.size(); ++e) {
    const double share = load[e] * experts / 2;
    if (cells >= 2) {
      out += format(" %2zu ", e) + bar(share, cells) + "▏";
    } else {
      if (static_cast<Index>(e) >= width) break;
      out += column(share);
    }
  }
  return out;
}

inline bool is_terminal() {
#if __has_include(<unistd.h>)
  return isatty(STDOUT_FILENO) == 1;
#else
  return false;
#endif
}

inline Index terminal_width() {
#if __has_include(<sys/ioctl.h>) && defined(TIOCGWINSZ)
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
#endif
  return 80;
}

}  // namespace detail

/// Shows Status values as they come. Only what it prints depends on time, never what is computed.
class ProgressBar {
 public:
  ProgressBar() : terminal_(detail::is_terminal()), start_(Clock::now()), last_(start_) {}

  /// Call after every step; most calls print nothing.
  void show(const Status& status) {
    const auto now = Clock::now();
    const bool ends = status.step == status.steps;
    if (terminal_) {
      if (!ends && shown_ && now - last_ < std::chrono::milliseconds(100)) return;
      draw(status, seconds_since_start(now));
    } else {
      const Index every = std::max<Index>(status.steps / 10, 1);
      if (!ends && status.step % every != 0) return;
      std::printf("%s\n", line(status, seconds_since_start(now)).c_str());
      std::fflush(stdout);
    }
    last_ = now;
    shown_ = true;
  }

 private:
  using Clock = std::chrono::steady_clock;

  double seconds_since_start(Clock::time_point now) const {
    return std::chrono::duration<double>(now - start_).count();
  }

  static std::string line(const Status& s, double seconds) {
    std::string out =
        format("step %*td/%td", static_cast<int>(std::to_string(s.steps).size()), s.step, s.steps);
    for (const auto& [name, bits] : s.bits_per_byte) {
      out.append("  ").append(name).append(format(" %.3f", bits));
    }
    out += format(" bits/byte  %.0fk tokens/s  ", s.tokens_per_second / 1000);
    const double left =
        seconds * static_cast<double>(s.steps - s.step) / static_cast<double>(s.step);
    return out + (s.step == s.steps ? "took " + duration(seconds) : duration(left) + " left");
  }

  void draw(const Status& s, double seconds) {
    const Index width = detail::terminal_width() - 1;
    std::string facts = line(s, seconds);
    const Index room = std::min<Index>(width - std::ssize(facts) - 2, 30);
    if (room < 0) facts.resize(static_cast<std::size_t>(std::max<Index>(width, 0)));
    if (shown_) std::printf("\x1b[%dA", lines_);
    lines_ = s.load.empty() ? 1 : 2;
    const double done = static_cast<double>(s.step) / static_cast<double>(s.steps);
    std::printf("\r\x1b[2K");
    if (room >= 4) std::printf("\x1b[36m%s\x1b[0m▏ ", detail::bar(done, room).c_str());
    std::printf("%s\n", facts.c_str());
    if (lines_ == 2) {
      std::printf("\r\x1b[2Kexperts\x1b[33m%s\x1b[0m\n",
                  detail::expert_bars(s.load, width - 8).c_str());
    }
    std::fflush(stdout);
  }

  bool terminal_;
  bool shown_ = false;
  int lines_ = 1;
  Clock::time_point start_, last_;
};

}  // namespace text
