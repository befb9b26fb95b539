// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Sequence-wise balance loss: coefficient * mean over sequences b of E * sum_e f_be P_be.
#pragma once

#include "moe/loss/balance.hpp"

MOE_NAMESPACE_BEGIN

/// f and P as in SwitchLoss, but within each sequence; a sequence without a real token is left out.
/// Balanced value: coefficient * 1 (with ShareOf::tokens * K).
///   DeepSeek-V2 (arXiv 2405.04434, seq_aux)   the defaults
///   DeepSeek-V3 (arXiv 2412.19437), Megatron  form.chosen = ChosenBy::scores,
///                                             form.scores = ScoresAs::normalized
///   maxtext                                   form.share = ShareOf::tokens
///   OLMo "instance"                           mean = MeanOver::tokens
struct SequenceBalanceLoss {
  double coefficient = 1e-4;
  /// Tokens per sequence, in order, padding included; their sum is T. Or:
  std::span<const Index> lengths = {};
  /// [T], the sequence of each token, in [0, T). Exactly one of the two is given.
  std::span<const std::int32_t> ids = {};
  BalanceForm form = {};
  MeanOver mean = MeanOver::groups;

  /// Throws std::invalid_argument unless lengths or ids fit T; the gradient is then untouched.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const Index sequences = check(in.tokens());
    if (!ids.empty()) {
      const auto id_of = [this](Index t) { return Index{ids[static_cast<std::size_t>(t)]}; };
      return detail::group_balance(in, gradient, coefficient, form, sequences, mean, id_of);
    }
    return detail::group_balance(in, gradient, coefficient, form, sequences, mean, Walk{lengths});
  }

 private:
  /// Sequence of t from the lengths; t mostly ascends.
  struct Walk {
    std::span<const Index> lengths;
    Index begin = 0, end = 0, next = 0;  // the current sequence is next - 1, [begin, end)

    Index operator()(Index t) {
      if (t < begin) begin = end = next = 0;
      while (t >= end) {
        begin = end;
        end += lengths[static_cast<std::size_t>(next++)];
      }
      return next - 1;
    }
  };

  /// The number of sequences.
  Index check(Index tokens) const {
    constexpr auto* kWhere = "moe::SequenceBalanceLoss";
    if (tokens > 0 && lengths.empty() == ids.empty()) {
      detail::fail(kWhere, "lengths has ", lengths.size(), " values and ids has ", ids.size(),
                   ", expected exactly one of them");
    }
    if (lengths.empty()) {
      detail::check_size(kWhere, "ids", std::ssize(ids), "values", "the number of tokens", tokens);
      for (const std::int32_t id : ids) {
        if (id < 0 || id >= tokens) {
          detail::fail(kWhere, "a sequence id is ", id, ", expected 0 to ", tokens - 1);
        }
      }
      return ids.empty() ? 0 : Index{*std::max_element(ids.begin(), ids.end())} + 1;
    }
    Index sum = 0;
    for (const Index length : lengths) {
      if (length < 0) detail::fail(kWhere, "a length is ", length, ", expected at least 0");
      sum += length;
    }
    detail::check_size(kWhere, "the sum of lengths", sum, "tokens", "the batch", tokens);
    return std::ssize(lengths);
  }
};

MOE_NAMESPACE_END
