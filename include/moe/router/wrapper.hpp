// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What routers share that stand around another router: InputJitter<LogitCap<LinearRouter<float>>>.
#pragma once

#include "moe/core/buffer.hpp"
#include "moe/core/error.hpp"
#include "moe/core/expert_axis.hpp"
#include "moe/core/state.hpp"
#include "moe/kernel/share.hpp"
#include "moe/router/router.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// f(t) for every row of a matrix of random values, rows shared among the threads.
template <class F>
void for_random_rows(const ExecutorRef& executor, Index rows, Index cols, F&& f) {
  constexpr double kCost = 1000;  // of one draw, in multiply-adds
  const double work = kCost * static_cast<double>(rows) * static_cast<double>(cols);
  run_threads(executor, useful_threads(executor, work), [&](Index i, Index n) {
    const Range mine = part_of(rows, i, n);
    for (Index t = mine.begin; t < mine.end; ++t) f(t);
  });
}

}  // namespace detail

/// True when a router's State shows a noise record to the losses.
template <class R>
inline constexpr bool adds_noise = requires(typename R::State& state) {
  state.noise;
};

/// The part of a router around `Base` that is Base's own: its sizes, and its parameters under their
/// plain names, so that a wrapper comes and goes without renaming a checkpoint. A wrapper's State
/// derives from Base::State: the losses find the noise record in there however deep it is.
template <class Base>
struct RouterWrapper {
  using Scalar = typename Base::Scalar;

  RouterWrapper() = default;
  RouterWrapper(const Dims& dims, const typename Base::Options& options, Random& random)
      : base(dims, options, random) {}

  Index model_dim() const { return base.model_dim(); }
  Index num_experts() const { return base.num_experts(); }

  /// Throws std::invalid_argument unless Base's parameters fit one another.
  void check_shapes(std::string_view function) const {
    detail::check_router_shapes(function, base);
  }

  template <class F>
  void visit_parameters(F&& f) {
    base.visit_parameters(f);
  }

  /// What saving keeps besides the options: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_part_state("", base, f);
  }

  /// Experts come and go as Base lets them: see moe/train/grow.hpp.
  static ExpertAxis expert_axis(std::string_view name) requires requires {
    Base::expert_axis(name);
  }
  { return Base::expert_axis(name); }
  void shift_logit(Index e, double by) requires requires(Base& b) { b.shift_logit(e, by); }
  { base.shift_logit(e, by); }
  void check_growth(std::string_view function) const requires requires(const Base& b) {
    b.check_growth(function);
  }
  { base.check_growth(function); }

  /// Asked before a backward: is Base what it was when it filled the state?
  void check_state(std::string_view function, const typename Base::State& state) const requires
      requires(const Base& b) {
    b.check_state(function, state);
  }
  { base.check_state(function, state); }

  Base base;
};

MOE_NAMESPACE_END
