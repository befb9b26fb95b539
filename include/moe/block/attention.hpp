// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Multi-head self-attention as a layer: x [T, D] -> y [T, D], within each sequence.
#pragma once

#include <optional>
#include <string>

#include "moe/block/attend.hpp"
#include "moe/block/record.hpp"
#include "moe/block/rotary.hpp"
#include "moe/router/parameters.hpp"

MOE_NAMESPACE_BEGIN

/// y = attend(x W_q^T, x W_k^T, x W_v^T) W_o^T (Vaswani et al. 2017), with fewer key heads than query
/// heads if told so (Ainslie et al. 2023), causal or not, positions by rotation or none. Which rows
/// form a sequence is Batch::sequence_lengths. A NaN stays in its sequence.
template <class S>
class Attention {
 public:
  using Scalar = S;

  struct Config {
    Index model_dim = 0;     ///< D
    Index num_heads = 1;     ///< of queries
    Index num_kv_heads = 0;  ///< a divisor of num_heads; 0: as many
    Index head_dim = 0;      ///< 0: D / num_heads
    bool causal = true;      ///< a row sees itself and what stands before it, else all its sequence
    bool bias = false;       ///< of all four projections
    std::optional<RotaryOptions> rotary = std::nullopt;  ///< of queries and keys
  };

  /// Every intermediate of a forward. From the second call on, with no more rows and no longer
  /// sequences, nothing is allocated.
  struct Workspace {
    explicit Workspace(ExecutorRef threads = {}) : executor(threads) {}
    ExecutorRef executor;
    Buffer<S> q, mixed;  ///< [T, num_heads * head_dim]
    Buffer<S> k, v;      ///< [T, num_kv_heads * head_dim]
    Sequences sequences;
    RotaryTable<S> rotary;
    AttendScratch<S> attend;
    LinearScratch<S> product;
    detail::CallRecord<S> call;  ///< of a tape
  };

  struct Tape : Workspace {
    using Workspace::Workspace;
    Buffer<S> dy, dq, dk, dv, dmixed;
  };

  /// Uniform weights in +-1/sqrt(fan in); the same seed gives the same weights. Throws
  /// std::invalid_argument on sizes below 1, a head_dim of 0 when D is no multiple of num_heads, key
  /// heads that do not divide the heads, or an odd number of rotated values.
  explicit Attention(const Config& config, std::uint64_t seed = 0) : config_(complete(config)) {
    Random random(seed);
    const Index d = config_.model_dim, queries = config_.num_heads * config_.head_dim;
    const Index keys = config_.num_kv_heads * config_.head_dim;
    const auto make = [&](Parameter<S>& w, Parameter<S>& b, Index rows, Index cols) {
      w = Parameter<S>(rows, cols);
      w.init_uniform(random, cols);
      if (!config_.bias) return;
      b = Parameter<S>(1, rows);
      b.init_uniform(random, cols);
    };
    make(w_q, b_q, queries, d);
    make(w_k, b_k, keys, d);
    make(w_v, b_v, keys, d);
    make(w_o, b_o, d, queries);
  }

  const Config& config() const { return config_; }  ///< nothing in it is 0
  Index model_dim() const { return config_.model_dim; }

  /// Writes y; rows of padding become zero. Throws std::invalid_argument on shapes that do not fit,
  /// lengths that do not sum to T, a mask that is not [T] long, or x and y sharing memory; y is then
  /// untouched.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& workspace,
               const Batch& batch = {}) const {
    check_forward(x, y, batch);
    workspace.call.layer_id = 0;
    run_forward(x, y, workspace, batch);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_forward(x, y, batch);
    const MatrixView<const S> kept = tape.call.keep(x, batch);
    run_forward(kept, y, tape, batch);
    tape.call.layer_id = id_.value();
  }

  /// Throws std::invalid_argument unless a backward with this tape could go ahead: what layers around
  /// this one ask before they change anything.
  void check_backward(const Tape& tape) const {
    detail::check_filled(kBackward, tape.call.layer_id, id_.value());
    check_weights(kBackward);
  }

  /// Writes dx and adds to the gradients of what trains. Consumes the tape. Throws
  /// std::invalid_argument when the tape is empty or another layer's, or a shape does not fit;
  /// nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    tape.call.check_shapes(kBackward, model_dim(), dy, dx);
    tape.call.layer_id = 0;
    const Batch& batch = tape.call.batch;
    const Index t = tape.call.tokens;
    const AttendShape shape = attend_shape();
    const Index queries = shape.heads * shape.width, keys = shape.kv_heads * shape.width;
    const MatrixView<const S> x = tape.call.kept_x(model_dim());
    const MatrixView<S> q(tape.q.data(), t, queries), mixed(tape.mixed.data(), t, queries);
    const MatrixView<S> k(tape.k.data(), t, keys), v(tape.v.data(), t, keys);
    const MatrixView<S> clean = tape.dy.resize(t, model_dim());
    const MatrixView<S> dmixed = tape.dmixed.resize(t, queries), dq = tape.dq.resize(t, queries);
    const MatrixView<S> dk = tape.dk.resize(t, keys), dv = tape.dv.resize(t, keys);

    detail::copy_without_padding(dy, batch, clean);
    detail::set_zero(dmixed);
    project_backward(w_o, b_o, mixed, clean, dmixed, tape);
    attend_backward<S>(shape, tape.sequences, batch, q, k, v, dmixed, dq, dk, dv, tape.attend,
                       tape.executor);
    turn(dq, dk, tape, /*back=*/true);
    detail::set_zero(dx);
    project_backward(w_q, b_q, x, dq, dx, tape);
    project_backward(w_k, b_k, x, dk, dx, tape);
    project_backward(w_v, b_v, x, dv, dx, tape);
  }

  template <class F>
  void visit_parameters(F&& f) {
    const auto visit = [&](std::string_view name, Parameter<S>& p) {
      if (!p.empty()) f(name, p);
    };
    visit("w_q", w_q);
    visit("w_k", w_k);
    visit("w_v", w_v);
    visit("w_o", w_o);
    visit("b_q", b_q);
    visit("b_k", b_k);
    visit("b_v", b_v);
    visit("b_o", b_o);
  }

  Parameter<S> w_q;  ///< [num_heads * head_dim, D]
  Parameter<S> w_k;  ///< [num_kv_heads * head_dim, D]
  Parameter<S> w_v;  ///< [num_kv_heads * head_dim, D]
  Parameter<S> w_o;  ///< [D, num_heads * head_dim]
  Parameter<S> b_q;  ///< [1, ...] each, or empty
  Parameter<S> b_k;
  Parameter<S> b_v;
  Parameter<S> b_o;

 private:
  static constexpr auto* kBackward = "moe::Attention::backward";

  static Config complete(Config c) {
    constexpr auto* kWhere = "moe::Attention";
    detail::check_positive(kWhere, "model_dim", c.model_dim);
    detail::check_positive(kWhere, "num_heads", c.num_heads);
    if (c.num_kv_heads == 0) c.num_kv_heads = c.num_heads;
    detail::check_positive(kWhere, "num_kv_heads", c.num_kv_heads);
    if (c.num_heads % c.num_kv_heads != 0) {
      detail::fail(kWhere, "num_kv_heads is ", c.num_kv_heads,
                   ", expected a divisor of num_heads = ", c.num_heads);
    }
    if (c.head_dim == 0) {
      if (c.model_dim % c.num_heads != 0) {
        detail::fail(kWhere, "num_heads is ", c.num_heads,
                     ", expected a divisor of model_dim = ", c.model_dim, ", or a head_dim");
      }
      c.head_dim = c.model_dim / c.num_heads;
    }
    detail::check_positive(kWhere, "head_dim", c.head_dim);
    if (c.rotary) detail::check_rotary(kWhere, *c.rotary, c.head_dim);
    return c;
  }

  /// Weights are public, to be loaded, and the kernels take their word.
  void check_weights(std::string_view function) const {
    const Index d = model_dim(), queries = config_.num_heads * config_.head_dim;
    const Index keys = config_.num_kv_heads * config_.head_dim;
    const auto check = [&](std::string_view name, const Parameter<S>& w, const Parameter<S>& b,
                           Index rows, Index cols) {
      detail::check_shape<const S>(function, name, w.value, rows, cols);
      if (!b.empty()) detail::check_shape<const S>(function, "its bias", b.value, 1, rows);
    };
    check("w_q", w_q, b_q, queries, d);
    check("w_k", w_k, b_k, keys, d);
    check("w_v", w_v, b_v, keys, d);
    check("w_o", w_o, b_o, d, queries);
  }

  void check_forward(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    constexpr auto* kWhere = "moe::Attention::forward";
    detail::check_forward<S>(kWhere, model_dim(), x, y, batch);
    check_weights(kWhere);
  }

  AttendShape attend_shape() const {
    return {.heads = config_.num_heads,
            .kv_heads = config_.num_kv_heads,
            .width = config_.head_dim,
            .causal = config_.causal};
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
                   const Batch& batch) const {
    const AttendShape shape = attend_shape();
    ws.sequences.read(batch, x.rows());
    const Index queries = shape.heads * shape.width, keys = shape.kv_heads * shape.width;
    const MatrixView<S> q = ws.q.resize(x.rows(), queries), k = ws.k.resize(x.rows(), keys);
    const MatrixView<S> v = ws.v.resize(x.rows(), keys), mixed = ws.mixed.resize(x.rows(), queries);
    project(w_q, b_q, x, q, ws);
    project(w_k, b_k, x, k, ws);
    project(w_v, b_v, x, v, ws);
    detail::clear_padding(batch, q);  // it may have been anything
    detail::clear_padding(batch, k);
    detail::clear_padding(batch, v);
    turn(q, k, ws, /*back=*/false);
    attend<S>(shape, ws.sequences, batch, q, k, v, mixed, ws.attend, ws.executor);
    project(w_o, b_o, MatrixView<const S>(mixed), y, ws);
    detail::clear_padding(batch, y);
  }

  void turn(MatrixView<S> q, MatrixView<S> k, Workspace& ws, bool back) const {
    if (!config_.rotary) return;
    const auto position = std::as_const(ws.sequences.position).span();
    ws.rotary.prepare(*config_.rotary, config_.head_dim, ws.sequences.longest);
    ws.rotary.turn(*config_.rotary, q, config_.head_dim, position, back, ws.executor);
    ws.rotary.turn(*config_.rotary, k, config_.head_dim, position, back, ws.executor);
  }

  static void project(const Parameter<S>& w, const Parameter<S>& b, MatrixView<const S> in,
                      MatrixView<S> out, Workspace& ws) {
    linear_forward<S>(in, w.value, b.empty() ? nullptr : b.value.data(), out, ws.product,
                      ws.executor);
  }
  static void project_backward(Parameter<S>& w, Parameter<S>& b, MatrixView<const S> in,
                               MatrixView<const S> dout, MatrixView<S> din, Workspace& ws) {
    detail::linear_backward_into<S>(w, &b, in, dout, din, ws.product, ws.executor);
  }

  Config config_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
