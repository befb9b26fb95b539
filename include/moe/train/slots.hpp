// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Per-parameter memory of an optimizer, matched to parameters by the order in which they are
// visited.
#pragma once

#include <vector>

#include "moe/core/error.hpp"
#include "moe/core/parameter.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// One matrix per visited parameter, empty until the parameter first trains.
template <class S>
class OptimizerSlots {
 public:
  /// Sizes itself on first use; later throws if the module is not the same. Changes nothing on a
  /// throw.
  template <class M>
  void check(M& module, std::string_view function) {
    std::size_t count = 0;
    module.visit_parameters([&](std::string_view name, Parameter<S>& p) {
      const std::size_t i = count++;
      if (i >= slots_.size() || slots_[i].size() == 0) return;
      if (slots_[i].rows() != p.value.rows() || slots_[i].cols() != p.value.cols()) {
        fail(function, name, " is [", p.value.rows(), ", ", p.value.cols(),
             "], the optimizer's state is [", slots_[i].rows(), ", ", slots_[i].cols(), "]");
      }
    });
    if (slots_.empty()) slots_.resize(count);
    if (slots_.size() != count) {
      fail(function, "the module has ", count, " parameters, the optimizer's state is for ",
           slots_.size());
    }
  }

  Matrix<S>& operator[](std::size_t i) { return slots_[i]; }

 private:
  std::vector<Matrix<S>> slots_;
};

}  // namespace detail
MOE_NAMESPACE_END
