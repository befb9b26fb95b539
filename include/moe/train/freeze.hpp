// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What trains and what does not: parameters frozen and thawed by name, and single rows of one.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "moe/core/error.hpp"
#include "moe/core/parameter.hpp"

MOE_NAMESPACE_BEGIN

/// Whether `part` names this parameter: its segments, between dots, are the first ones of `name`;
/// "*" stands for any one segment. "experts.1" names experts.1.w_in, not experts.10.w_in;
/// "blocks.*.moe.router" the routers of all blocks; "" everything.
inline bool names_parameter(std::string_view part, std::string_view name) {
  while (!part.empty()) {
    if (name.empty()) return false;
    const std::string_view wanted = part.substr(0, part.find('.'));
    const std::string_view here = name.substr(0, name.find('.'));
    if (wanted != "*" && wanted != here) return false;
    part.remove_prefix(std::min(part.size(), wanted.size() + 1));
    name.remove_prefix(std::min(name.size(), here.size() + 1));
  }
  return true;
}

/// Sets Parameter::trainable of all that `part` names (see names_parameter) and returns how many
/// values that are. A frozen parameter gives its gradient back, gets no new one, and costs no product
/// in backward; the gradient still flows through it to what lies below. Throws std::invalid_argument
/// when nothing has such a name.
template <class M>
Index set_trainable(M& module, std::string_view part, bool trainable) {
  Index values = 0;
  bool found = false;
  module.visit_parameters([&](std::string_view name, auto& p) {
    if (!names_parameter(part, name)) return;
    found = true;
    values += p.value.size();
    p.trainable = trainable;
    if (!trainable) p.grad.resize(0, 0);
  });
  if (!found) {
    detail::fail("moe::set_trainable", "no parameter is named \"", part,
                 "\", expected the beginning of a name up to a dot, such as \"router\" or "
                 "\"experts.0\"");
  }
  return values;
}

/// freeze(layer): all; freeze(layer, "router"); freeze(layer, "experts.3").
template <class M>
Index freeze(M& module, std::string_view part = {}) {
  return set_trainable(module, part, false);
}
template <class M>
Index unfreeze(M& module, std::string_view part = {}) {
  return set_trainable(module, part, true);
}

/// Freezes everything but `parts`: train_only(layer, {"router", "experts.4"}). What trained before and
/// goes on keeps its gradient. Returns how many values train. Throws std::invalid_argument, and changes
/// nothing, when one of the parts names nothing.
template <class M>
Index train_only(M& module, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) {
    bool found = false;
    module.visit_parameters(
        [&](std::string_view name, auto&) { found = found || names_parameter(part, name); });
    if (!found) detail::fail("moe::train_only", "no parameter is named \"", part, "\"");
  }
  Index values = 0;
  module.visit_parameters([&](std::string_view name, auto& p) {
    p.trainable = std::any_of(parts.begin(), parts.end(),
                              [&](std::string_view part) { return names_parameter(part, name); });
    if (p.trainable) {
      values += p.value.size();
    } else {
      p.grad.resize(0, 0);
    }
  });
  return values;
}

/// Number of weights that train.
template <class M>
Index trainable_count(M& module) {
  Index count = 0;
  module.visit_parameters(
      [&](std::string_view, auto& p) { count += p.trainable ? p.value.size() : 0; });
  return count;
}

/// Rows of a parameter that must not move while the others train: a router's rows of old experts
/// beside that of a new one. Whatever the optimizer does with momentum or decay, after
///   optimizer.step(model); old_rows.restore();
/// they hold the bits they held when this was made. Their gradients are computed all the same: they
/// are part of one product with the others. The parameter must outlive this and keep its shape.
template <class S>
class FrozenRows {
 public:
  /// Throws std::invalid_argument on a row that the parameter does not have.
  FrozenRows(Parameter<S>& parameter, std::vector<Index> rows)
      : parameter_(&parameter), rows_(std::move(rows)) {
    values_.resize(std::ssize(rows_), parameter.value.cols());
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (rows_[i] < 0 || rows_[i] >= parameter.value.rows()) {
        detail::fail("moe::FrozenRows", "row ", rows_[i], " is named, expected 0 to ",
                     parameter.value.rows() - 1);
      }
      values_.row(static_cast<Index>(i)) = parameter.value.row(rows_[i]);
    }
  }

  /// Throws std::invalid_argument when the parameter changed its shape.
  void restore() const {
    const Index last = rows_.empty() ? -1 : *std::max_element(rows_.begin(), rows_.end());
    if (parameter_->value.cols() != values_.cols() || parameter_->value.rows() <= last) {
      detail::fail("moe::FrozenRows::restore", "the parameter is [", parameter_->value.rows(), ", ",
                   parameter_->value.cols(), "], expected ", values_.cols(), " columns and row ",
                   last);
    }
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      parameter_->value.row(rows_[i]) = values_.row(static_cast<Index>(i));
    }
  }

 private:
  Parameter<S>* parameter_;
  std::vector<Index> rows_;
  Matrix<S> values_;
};

MOE_NAMESPACE_END
