// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer to a file and back, weights, state and configuration.
#pragma once

#include <new>
#include <string>

#include "moe/io/saved_state.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// What the file says of a part: an object with a type.
inline const Json& saved_part(const std::filesystem::path& path, const Json& about,
                              const std::string& name) {
  const auto part = about["parts"].find(name);
  if (part == about["parts"].end() || !part->is_object() || !part->contains("type") ||
      !(*part)["type"].is_string()) {
    fail_file(path, "has no part ", in_quotes(name), " with a type");
  }
  return *part;
}

template <class X>
void check_saved_type(const std::filesystem::path& path, const char* what, const Json& part) {
  const std::string type = part["type"].get<std::string>();
  if (type != type_label<X>()) {
    fail_file(path, what, " is ", in_quotes(type), ", expected '", type_label<X>(), "'");
  }
}

/// make(), where what constructors throw is the file's fault.
template <class F>
auto make_saved(const std::filesystem::path& path, const char* what, F&& make) {
  try {
    return make();
  } catch (const std::invalid_argument& error) {
    fail_file(path, what, "'s configuration is wrong: ", error.what());
  } catch (const std::bad_alloc&) {
    fail_file(path, what, " does not fit into memory");
  }
}

}  // namespace detail

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
  return detail::saved_part(path, about, "layer")["type"].get<std::string>();
}

/// The layer of the file's part "layer", made as the file's configuration says. Nothing is allocated
/// that the file does not hold. Throws FileError when the file is damaged, or its layer is of another
/// type (see saved_layer_type).
template <class Layer>
Layer load_layer(const std::filesystem::path& path) {
  static_assert(
      detail::HasBlueprint<Layer>,
      "moe::load_layer: the layer, or a part of it, cannot say its configuration (see "
      "moe/io/layer_config.hpp; a LoraMixture cannot, nor a SharedLoraFfn, as their base is "
      "not saved); make it in the program and use moe::load_layer_into");
  const SafeTensors file(path);
  const Json about = SavedState::read_about(file);
  const Json& part = detail::saved_part(path, about, "layer");
  detail::check_saved_type<Layer>(path, "the layer", part);
  if (!part.contains("config")) detail::fail_file(path, "has no configuration of the layer");
  return detail::make_saved(path, "the layer", [&] {
    detail::Section at(file, "layer", "layer.", part["config"]);
    Layer layer = detail::Blueprint<Layer>::make(at);
    at.finish();
    SavedState().add("layer", layer).load(file);
    return layer;
  });
}

/// The optimizer of the file's part `name`, with its options and all it remembers of `module`'s
/// parameters, whose gradients are set too. Throws FileError as load_layer; `module` is then unchanged.
template <class Optimizer, class M>
Optimizer load_optimizer(const std::filesystem::path& path, M& module,
                         const std::string& name = "optimizer") {
  static_assert(
      detail::Describable<Optimizer>,
      "moe::load_optimizer: the optimizer cannot say its options, expected options() const "
      "and in Options a member visit(f); make it in the program and use SavedState::load");
  const SafeTensors file(path);
  const Json about = SavedState::read_about(file);
  const Json& part = detail::saved_part(path, about, name);
  detail::check_saved_type<Optimizer>(path, "the optimizer", part);
  if (!part.contains("config")) detail::fail_file(path, "has no options of the optimizer");
  return detail::make_saved(path, "the optimizer", [&] {
    detail::Section at(file, name, name + ".", part["config"]);
    Optimizer optimizer(at.read_options<typename Optimizer::Options>());
    at.finish();
    SavedState().add(name, optimizer, module).load(file);
    return optimizer;
  });
}

MOE_NAMESPACE_END
