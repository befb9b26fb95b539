// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Any layer as an expert: rows [n, D] -> rows [n, D].
#pragma once

#include <string_view>
#include <utility>

#include "moe/core/error.hpp"
#include "moe/core/state.hpp"
#include "moe/expert/expert.hpp"
#include "moe/layer/layer.hpp"

MOE_NAMESPACE_BEGIN

/// A layer where an expert is wanted: beside other kinds in AnyOf, or as the groups of a
/// HierarchicalLayer, which fills in what each call should know of its rows. In AnyOf a layer inside
/// draws its noise by the row it gets, with seed 0: prefer one that draws nothing there.
template <class S, class LayerType>
class LayerExpert {
  static_assert(require_layer<LayerType, S>());
  static_assert(
      !requires(const LayerType& layer) { layer.output_dim(); },
      "moe::LayerExpert: the layer's output is wider than its input, expected one of model_dim "
      "columns");

 public:
  /// Memory of one call. The caller may set `batch`, about the rows of this expert alone, and
  /// `keep`; without, rows are nobody's in particular, and every call can be followed by a backward.
  /// Layers set `keep`: off in inference, where a layer inside is in inference, too.
  struct State {
    typename LayerType::Workspace workspace;
    typename LayerType::Tape tape;
    Batch batch;
    bool keep = true;  ///< the next forward goes on the tape
  };

  explicit LayerExpert(LayerType wrapped) : layer(std::move(wrapped)) {}

  /// Throws std::invalid_argument unless the layer is as wide as the one around it.
  void check_model_dim(std::string_view function, Index model_dim) const {
    detail::check_size(function, "a layer inside", layer.model_dim(), "columns",
                       "the model_dim around it", model_dim);
  }

  void forward(MatrixView<const S> in, MatrixView<S> out, State& state,
               ExecutorRef executor = {}) const {
    if (state.keep) {
      state.tape.executor = executor;
      layer.forward(in, out, state.tape, state.batch);
    } else {
      state.workspace.executor = executor;
      layer.forward(in, out, state.workspace, state.batch);
    }
  }

  /// Throws what the layer's backward would, if it says so beforehand.
  void check_backward(const State& state) const { detail::check_part_backward(layer, state.tape); }

  /// Consumes the state; `in` is on its tape.
  void backward(MatrixView<const S>, MatrixView<const S> dout, MatrixView<S> din, State& state,
                ExecutorRef executor = {}) {
    state.tape.executor = executor;
    layer.backward(dout, din, state.tape);
  }

  template <class F>
  void visit_parameters(F&& f) {
    layer.visit_parameters(f);
  }

  template <class F>
  requires HasState<LayerType>
  void visit_state(F&& f) { layer.visit_state(f); }

  LayerType layer;
};

MOE_NAMESPACE_END
