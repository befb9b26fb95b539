// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What an optimizer remembers <-> tensors of a file: "<name>.steps"; of each parameter ".steps", and
// where there are any ".first", ".second" and ".grad", [0] for a gradient that is there and zero.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "moe/io/state_leaves.hpp"
#include "moe/train/slots.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

template <class S, class M>
void save_optimizer(const std::string& name, OptimizerState<S>& state, M& module, SaveList& list) {
  if (!state.parameters.empty()) state.check(module, "moe::SavedState::save");
  list.add_state(name + ".steps", state.steps);
  std::size_t i = 0;
  module.visit_parameters([&](std::string_view n, Parameter<S>& p) {
    const std::string full = name + "." + std::string(n);
    const auto begin = p.grad.data(), end = begin + p.grad.size();
    const auto is_zero = [](S v) { return v == 0 && !std::signbit(v); };
    if (p.grad.size() != 0 && std::all_of(begin, end, is_zero)) {
      list.add(full + ".grad", dtype_of<S>(), {0}, nullptr);
    } else if (p.grad.size() != 0) {
      list.add(full + ".grad", p.grad);
    }
    if (state.parameters.empty()) return;
    ParameterState<S>& slot = state.parameters[i++];
    list.add_state(full + ".steps", slot.steps);
    if (slot.first.size() != 0) list.add(full + ".first", slot.first);
    if (slot.second.size() != 0) list.add(full + ".second", slot.second);
  });
}

/// The gradient that the file has under this name; `matrix` reads a whole one.
template <class S, class F>
Matrix<S> saved_gradient(const std::string& full, const Parameter<S>& p, const F& matrix,
                         LoadList& list) {
  const TensorInfo* tensor = list.file().find(full);
  if (tensor == nullptr || tensor->shape.size() != 1) return matrix(full, p);
  list.take(full, dtype_of<S>(), std::array<Index, 1>{0});
  return Matrix<S>::Zero(p.value.rows(), p.value.cols());
}

/// Nothing is changed before list.commit().
template <class S, class M>
void load_optimizer(const std::string& name, OptimizerState<S>& state, M& module, LoadList& list) {
  OptimizerState<S> next;
  const auto number = [&](const std::string& full) {
    const TensorInfo& tensor = list.take(full, dtype_of<Index>(), {});
    Index value = 0;
    SafeTensors::read<Index>(tensor, MatrixView<Index>(&value, 1, 1));
    if (value < 0) SafeTensors::fail(tensor, "is ", value, ", expected at least 0");
    return value;
  };
  const auto matrix = [&](const std::string& full, const Parameter<S>& p) {
    Matrix<S> values;
    if (!list.file().contains(full)) return values;
    const Index shape[] = {p.value.rows(), p.value.cols()};
    const TensorInfo& tensor = list.take(full, dtype_of<S>(), shape);
    values.resize(shape[0], shape[1]);
    SafeTensors::read<S>(tensor, values);
    list.file().release(tensor);
    return values;
  };
  next.steps = number(name + ".steps");
  bool stepped = false;
  module.visit_parameters([&](std::string_view n, Parameter<S>&) {
    stepped = stepped || list.file().contains(name + "." + std::string(n) + ".steps");
  });
  module.visit_parameters([&](std::string_view n, Parameter<S>& p) {
    const std::string full = name + "." + std::string(n);
    list.on_commit([&p, grad = saved_gradient(full + ".grad", p, matrix, list)]() mutable {
      p.grad = std::move(grad);
    });
    if (!stepped) return;
    next.parameters.push_back({.name = std::string(n),
                               .steps = number(full + ".steps"),
                               .first = matrix(full + ".first", p),
                               .second = matrix(full + ".second", p)});
  });
  list.on_commit([&state, next = std::move(next)]() mutable { state = std::move(next); });
}

}  // namespace detail
MOE_NAMESPACE_END
