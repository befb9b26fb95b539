// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What optimizers remember of each parameter, matched by name and order of visiting.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "moe/core/error.hpp"
#include "moe/core/parameter.hpp"

MOE_NAMESPACE_BEGIN

/// What an optimizer remembers of one parameter. A matrix is empty until the parameter first trains.
template <class S>
struct ParameterState {
  std::string name;       ///< of the parameter, as visited
  Index steps = 0;        ///< AdamW: steps this parameter has had
  Matrix<S> first = {};   ///< AdamW: m, the mean gradient; Sgd: the velocity
  Matrix<S> second = {};  ///< AdamW: v, the mean square; Sgd: empty
};

/// All that an optimizer remembers. Plain data: to save a training, save it; to go on, put it back.
template <class S>
struct OptimizerState {
  Index steps = 0;                            ///< calls of step
  std::vector<ParameterState<S>> parameters;  ///< in order of visiting, empty before the first step

  /// Sizes itself on first use; later throws std::invalid_argument unless the module visits the same
  /// parameters in the same order and shapes, and, `with_second`, has both matrices of each or none.
  /// Changes nothing on a throw.
  template <class M>
  void check(M& module, std::string_view function, bool with_second = false) {
    std::size_t count = 0;
    module.visit_parameters([&](std::string_view, Parameter<S>&) { ++count; });
    if (parameters.empty()) adopt(module);
    if (parameters.size() != count) {
      detail::fail(function, "the module has ", count, " parameters, the optimizer's state is for ",
                   parameters.size());
    }
    std::size_t i = 0;
    module.visit_parameters([&](std::string_view name, Parameter<S>& p) {
      const ParameterState<S>& slot = parameters[i++];
      if (slot.name != name) {
        detail::fail(function, "parameter ", i - 1, " is ", name, ", the optimizer's state is for ",
                     slot.name, "; OptimizerState::adopt takes another module");
      }
      for (const Matrix<S>* m : {&slot.first, &slot.second}) {
        if (m->size() == 0 || (m->rows() == p.value.rows() && m->cols() == p.value.cols()))
          continue;
        detail::fail(function, name, " is [", p.value.rows(), ", ", p.value.cols(),
                     "], the optimizer's state is [", m->rows(), ", ", m->cols(), "]");
      }
      if (with_second && slot.first.size() != slot.second.size()) {
        detail::fail(function, "the state of ", name,
                     " has one of mean and mean square, expected both: that of an AdamW");
      }
    });
  }

  /// Takes `module` as the one to train from now on: what has the name and the shape of a parameter
  /// follows it, the others start anew, state without a parameter is dropped. For parameters that
  /// came or went, such as adapters. When experts moved, their names did too: see moe::follow.
  template <class M>
  void adopt(M& module) {
    std::vector<ParameterState<S>> next;
    std::map<std::string, Index, std::less<>>
        seen;  // names need not be unique: the n-th is the n-th
    module.visit_parameters([&](std::string_view name, Parameter<S>& p) {
      ParameterState<S> fresh{.name = std::string(name)};
      const ParameterState<S>* old = find(name, seen[fresh.name]++);
      const bool fits = old != nullptr && old->first.rows() == p.value.rows() &&
                        old->first.cols() == p.value.cols();
      next.push_back(fits ? *old : std::move(fresh));
    });
    parameters = std::move(next);
  }

  /// Gives back the memory of what is frozen. Thawed again, it starts as if new.
  template <class M>
  void forget_frozen(M& module) {
    if (parameters.empty()) return;
    check(module, "moe::OptimizerState::forget_frozen");
    std::size_t i = 0;
    module.visit_parameters([&](std::string_view name, Parameter<S>& p) {
      ParameterState<S>& slot = parameters[i++];
      if (!p.trainable) slot = {.name = std::string(name)};
    });
  }

  /// The state of the (n-th) parameter of this name, null when there is none.
  ParameterState<S>* find(std::string_view name, Index nth = 0) {
    for (ParameterState<S>& slot : parameters) {
      if (slot.name == name && nth-- == 0) return &slot;
    }
    return nullptr;
  }

  /// Values held, over all parameters.
  Index size() const {
    Index values = 0;
    for (const auto& slot : parameters) values += slot.first.size() + slot.second.size();
    return values;
  }
};

MOE_NAMESPACE_END
