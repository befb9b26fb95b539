// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Hash router: a table [V, K] names the experts of each token id; logits [T, E] of others are -inf.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "moe/router/uniform.hpp"
#include "moe/router/wrapper.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Row v: k distinct experts, the first k of a shuffle that depends on (seed, v) alone.
inline std::vector<std::int32_t> random_hash_table(Index vocabulary, Index k, Index experts,
                                                   std::uint64_t seed) {
  std::vector<std::int32_t> table;
  std::vector<std::int32_t> order(static_cast<std::size_t>(experts));
  for (Index v = 0; v < vocabulary; ++v) {
    for (std::size_t e = 0; e < order.size(); ++e) order[e] = static_cast<std::int32_t>(e);
    Random random(seed, static_cast<std::uint64_t>(v));
    for (std::size_t j = 0; j < static_cast<std::size_t>(k); ++j) {
      std::swap(order[j], order[j + static_cast<std::size_t>(random.below(order.size() - j))]);
      table.push_back(order[j]);
    }
  }
  return table;
}

}  // namespace detail

/// The token's id chooses, Base only weighs: logits = Base(x) for the K experts of the id's row,
/// -inf for all others, so any top-k gate picks the row and scores its experts alone.
///   HashRouter<UniformRouter<S>>  weight 1 / K each (Roller et al. 2021, hash layers)
///   HashRouter<LinearRouter<S>>   the gate's weights over the row (DeepSeek-V4's tid2eid), with a
///                                 gate that renormalises or scores elementwise
/// Needs Batch::token_ids. The table is random from `seed`, or the caller's.
template <class Base>
class HashRouter : public RouterWrapper<Base> {
 public:
  using RouterWrapper<Base>::base;
  using RouterWrapper<Base>::num_experts;
  using Scalar = typename Base::Scalar;
  struct Options {
    typename Base::Options base{};
    Index vocabulary = 0;                  ///< V
    std::vector<std::int32_t> table = {};  ///< [V, K] row-major; empty: random
    std::uint64_t seed = 42;               ///< of the random table

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("base", base);
      f("vocabulary", vocabulary);
      f("seed", seed);
    }
  };
  struct State : Base::State {
    Buffer<std::int64_t> entry;  ///< [T], row of the table, -1 for padding
    Buffer<Scalar> dbase;        ///< [T, E]
  };

  HashRouter() = default;

  /// Throws std::invalid_argument unless V >= 1, 1 <= K <= E, and a given table is [V, K] with
  /// distinct experts in each row.
  HashRouter(const Dims& dims, const Options& options, Random& random)
      : RouterWrapper<Base>(dims, options.base, random),
        table_(options.table),
        vocabulary_(options.vocabulary),
        k_(dims.top_k),
        experts_(dims.num_experts) {
    constexpr auto* kWhere = "moe::HashRouter";
    detail::check_positive(kWhere, "vocabulary", vocabulary_);
    detail::check_positive(kWhere, "top_k", k_);
    if (k_ > num_experts()) {
      detail::fail(kWhere, "top_k is ", k_, ", expected at most num_experts = ", num_experts());
    }
    if (table_.empty()) {
      table_ = detail::random_hash_table(vocabulary_, k_, num_experts(), options.seed);
    }
    check_table(table_);
  }

  /// The table names experts, so they cannot come and go without another table.
  static ExpertAxis expert_axis(std::string_view) = delete;

  Index vocabulary() const { return vocabulary_; }
  /// [V, K]: experts of every token id.
  MatrixView<const std::int32_t> table() const { return {table_.data(), vocabulary_, k_}; }

  /// Throws std::invalid_argument unless Base's parameters fit one another and the table.
  void check_shapes(std::string_view function) const {
    RouterWrapper<Base>::check_shapes(function);
    detail::check_size(function, "the router", num_experts(), "outputs",
                       "the number of experts in its table", experts_);
  }

  /// As it was made; the table, which may be large, is state.
  Options options() const {
    return {.base = detail::options_behind(base), .vocabulary = vocabulary_};
  }

  /// What saving keeps besides the options: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    RouterWrapper<Base>::visit_state(f);
    f(std::string_view("table"), table_,
      [this](std::span<const std::int32_t> table) { check_table(table); });
  }

  /// Throws std::invalid_argument when batch.token_ids is missing, not [T], or holds an id outside
  /// [0, V) in a row that is not padding; before anything is written.
  void forward(MatrixView<const Scalar> x, MatrixView<Scalar> logits, const Batch& batch,
               State& state, ExecutorRef executor) const {
    detail::check_router_forward("moe::HashRouter::forward", *this, x, logits, batch);
    look_up(x.rows(), batch, state);
    base.forward(x, logits, batch, state, executor);
    for (Index t = 0; t < x.rows(); ++t) {
      Scalar* row = logits.row(t);
      if (state.entry[t] < 0) {
        std::fill_n(row, num_experts(), Scalar(0));
        continue;
      }
      for (Index e = 0; e < num_experts(); ++e) {
        if (!in_row(state.entry[t], e)) row[e] = -std::numeric_limits<Scalar>::infinity();
      }
    }
  }

  /// Only the logits of the table's experts came from Base.
  void backward(MatrixView<const Scalar> x, MatrixView<const Scalar> dlogits, MatrixView<Scalar> dx,
                State& state, ExecutorRef executor) {
    detail::check_router_backward("moe::HashRouter::backward", *this, x, dlogits, dx);
    detail::check_router_state("moe::HashRouter::backward", state.entry.size(), x.rows());
    const MatrixView<Scalar> dbase = state.dbase.resize(x.rows(), num_experts());
    dbase.eigen().setZero();
    for (Index t = 0; t < x.rows(); ++t) {
      if (state.entry[t] < 0) continue;
      for (Index j = 0; j < k_; ++j) {
        const std::int32_t e = table()(static_cast<Index>(state.entry[t]), j);
        dbase(t, e) = dlogits(t, e);
      }
    }
    base.backward(x, dbase, dx, state, executor);
  }

 private:
  bool in_row(std::int64_t entry, Index e) const {
    const std::int32_t* row = table().row(static_cast<Index>(entry));
    return std::find(row, row + k_, static_cast<std::int32_t>(e)) != row + k_;
  }

  void look_up(Index t_count, const Batch& batch, State& state) const {
    constexpr auto* kWhere = "moe::HashRouter::forward";
    detail::check_size(kWhere, "batch.token_ids", std::ssize(batch.token_ids), "values",
                       "the number of tokens", t_count);
    const auto entry = state.entry.resize(t_count);
    for (std::size_t t = 0; t < entry.size(); ++t) {
      const std::int64_t id = batch.token_ids[t];
      const bool padding = batch.is_padding(static_cast<Index>(t));
      if (!padding && (id < 0 || id >= vocabulary_)) {
        detail::fail(kWhere, "token ", t, " has id ", id, ", expected 0 to ", vocabulary_ - 1);
      }
      entry[t] = padding ? -1 : id;
    }
  }

  void check_table(std::span<const std::int32_t> table) const {
    constexpr auto* kWhere = "moe::HashRouter";
    detail::check_size(kWhere, "table", std::ssize(table), "values", "vocabulary * top_k",
                       vocabulary_ * k_);
    for (Index v = 0; v < vocabulary_; ++v) {
      const std::int32_t* row = table.data() + v * k_;
      for (Index j = 0; j < k_; ++j) {
        if (row[j] < 0 || row[j] >= num_experts()) {
          detail::fail(kWhere, "table row ", v, " names expert ", row[j], ", expected 0 to ",
                       num_experts() - 1);
        }
        if (std::find(row, row + j, row[j]) != row + j) {
          detail::fail(kWhere, "table row ", v, " names expert ", row[j],
                       " twice, expected distinct experts");
        }
      }
    }
  }

  std::vector<std::int32_t> table_;
  Index vocabulary_ = 0;
  Index k_ = 0;
  Index experts_ = 0;  ///< that the table may name
};

MOE_NAMESPACE_END
