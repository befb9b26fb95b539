// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer to a file and back, weights, state and configuration.
#pragma once

#include "moe/io/saved_state.hpp"

MOE_NAMESPACE_BEGIN

/// The layer as part "layer" of a new file. Throws as SavedState::save.
template <class Layer>
void save_layer(const std::filesystem::path& path, Layer& layer) {
  SavedState().add("layer", layer).save(path);
}

/// Weights and state of the file's part "layer", also of a whole run's file, into a layer of the same
/// kind and sizes. Throws as SavedState::load.
template <class Layer>
void load_layer_into(const std::filesystem::path& path, Layer& layer,
                     const LoadOptions& options = {}) {
  SavedState().add("layer", layer).load(path, options);
}

/// The type of the file's part "layer", as type_label names it; any text when the file is hostile.
inline std::string saved_layer_type(const std::filesystem::path& path) {
  const SafeTensors file(path);
  const Json about = SavedState::read_about(file);
  const auto part = about["parts"].find("layer");
  if (part == about["parts"].end() || !part->is_object() || !part->contains("type") ||
      !(*part)["type"].is_string()) {
    detail::fail_file(path, "has no part 'layer' with a type");
  }
  return (*part)["type"].get<std::string>();
}

namespace detail {

/// Sizes from a file decide how much is allocated, so they must be plausible: the file holds at least
/// one value per weight of the experts' smallest matrix.
inline void check_plausible(const SafeTensors& file, Index values, Index model_dim,
                            Index hidden_dim, Index num_experts) {
  Index needed = 1;
  for (const Index n : {model_dim, hidden_dim, num_experts}) {
    if (n < 0 || __builtin_mul_overflow(needed, n, &needed) || needed > values) {
      fail_file(file.files().front(), "the layer is [model_dim ", model_dim, ", hidden_dim ",
                hidden_dim, ", num_experts ", num_experts, "], the file has ", values, " values");
    }
  }
}

/// The same for every size among a part's options, nested ones too: it has at least one value each.
struct PlausibleOptions {
  const std::filesystem::path& path;
  Index values;
  std::string where;

  template <class T>
  void operator()(std::string_view name, T& value) const {
    const std::string full = where + "." + std::string(name);
    if constexpr (std::is_same_v<T, Index>) {
      if (value > values) {
        fail_file(path, full, " is ", value, ", the file has ", values, " values");
      }
    } else if constexpr (HasFields<T>) {
      value.visit(PlausibleOptions{path, values, full});
    }
  }
};

template <class C>
void check_plausible(const SafeTensors& file, C& config) {
  Index values = 0;
  for (const TensorInfo& tensor : file.tensors()) values += tensor.size();
  check_plausible(file, values, config.model_dim, config.hidden_dim, config.num_experts);
  // Of the gate nothing: its numbers are limits, as SinkhornGate's max_iterations, not sizes.
  const PlausibleOptions check{file.files().front(), values, "layer"};
  check("router", config.router);
  check("expert", config.expert);
}

}  // namespace detail

/// The layer of the file's part "layer", made as the file's configuration says. Throws FileError
/// when the file is damaged, or its layer is of another type (see saved_layer_type).
template <class Layer>
Layer load_layer(const std::filesystem::path& path) {
  static_assert(
      detail::HasConfig<Layer>,
      "moe::load_layer: the layer cannot say its configuration; make it in the program and "
      "use moe::load_layer_into");
  const std::string type = saved_layer_type(path);
  if (type != type_label<Layer>()) {
    detail::fail_file(path, "the layer is ", detail::in_quotes(type), ", expected '",
                      type_label<Layer>(), "'");
  }
  const SafeTensors file(path);
  const Json about = SavedState::read_about(file);
  typename Layer::Config config;
  const Json& part = about["parts"]["layer"];
  if (!part.contains("config")) detail::fail_file(path, "has no configuration of the layer");
  detail::FieldReader reader(path, "layer", part["config"]);
  detail::visit_config(config, reader);
  reader.finish();
  detail::check_plausible(file, config);
  try {
    Layer layer(config);
    load_layer_into(path, layer);
    return layer;
  } catch (const std::invalid_argument& error) {
    detail::fail_file(path, "the layer's configuration is wrong: ", error.what());
  }
}

MOE_NAMESPACE_END
