// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Schedules: a step -> a learning rate or a router temperature.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN

/// Linear warm-up from 0 to `peak` over `warmup_steps`, then half a cosine down to `floor` at
/// `total_steps` (Loshchilov & Hutter 2017 without restarts); `floor` from there on.
struct WarmupCosine {
  double peak = 1e-3;
  Index warmup_steps = 0;
  Index total_steps = 1;
  double floor = 0;

  /// For saving: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    f(std::string_view("peak"), peak);
    f(std::string_view("warmup_steps"), warmup_steps);
    f(std::string_view("total_steps"), total_steps);
    f(std::string_view("floor"), floor);
  }

  /// Value at step 0, 1, ...; the first step of a warm-up already moves.
  double at(Index step) const {
    if (step < warmup_steps) {
      return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
    }
    const auto span = static_cast<double>(std::max<Index>(total_steps - warmup_steps, 1));
    const double done = std::min(static_cast<double>(step - warmup_steps) / span, 1.0);
    return floor + (peak - floor) * 0.5 * (1 + std::cos(std::numbers::pi * done));
  }
};

/// Router temperature falling (or rising) geometrically from `start` to `end` over `steps`, then
/// `end`: broad exploration first, sharp choices later. Use:
/// gate.set_temperature(annealing.at(step)).
struct TemperatureAnnealing {
  double start = 2;
  double end = 1;
  Index steps = 1;

  /// For saving: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    f(std::string_view("start"), start);
    f(std::string_view("end"), end);
    f(std::string_view("steps"), steps);
  }

  double at(Index step) const {
    const double done = std::clamp(
        static_cast<double>(step) / static_cast<double>(std::max<Index>(steps, 1)), 0.0, 1.0);
    return start * std::pow(end / start, done);
  }
};

MOE_NAMESPACE_END
