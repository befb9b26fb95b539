// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers that this library saved: which kind a file holds, and that layer, packed.
#pragma once

#include <cstdio>
#include <filesystem>
#include <moe/io/layer_file.hpp>
#include <moe/layer/packed_layer.hpp>
#include <string>

#include "info.hpp"

namespace checkpoint {

template <class... Types>
struct TypeList {};

template <class Expert>
using Linear = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Expert>;

/// What can be run from a file; other layers are a line here.
using KnownLayers =
    TypeList<Linear<moe::GatedFfn<float, moe::Silu>>, Linear<moe::GatedFfn<float, moe::Gelu>>,
             Linear<moe::GatedFfn<float, moe::GeluTanh>>, Linear<moe::GatedFfn<float, moe::Relu>>,
             Linear<moe::Ffn<float, moe::Relu>>, Linear<moe::Ffn<float, moe::Gelu>>,
             Linear<moe::Ffn<float, moe::Silu>>>;

/// A text from a file on one line, fit for a terminal: quoted, all but plain ASCII escaped.
inline std::string shown(const std::string& text) { return moe::Json(text).dump(-1, ' ', true); }

/// use(layer) with the file's layer. Throws moe::FileError when its type is none of the list.
template <class Use, class... Layers>
void with_saved_layer(const std::filesystem::path& path, TypeList<Layers...>, Use&& use) {
  const std::string type = moe::saved_layer_type(path);
  bool found = false;
  std::string known;
  const auto attempt = [&]<class L>(TypeList<L>) {
    known += "\n  " + moe::type_label<L>();
    if (found || type != moe::type_label<L>()) return;
    found = true;
    use(moe::load_layer<L>(path));
  };
  (attempt(TypeList<Layers>{}), ...);
  if (!found) {
    throw moe::FileError(path.string() + ": the layer is " + shown(type) + "; known:" + known);
  }
}

/// What is in the file: its parts and tensors.
inline void print_saved_info(const std::filesystem::path& path) {
  const moe::SafeTensors file(path);
  const moe::Json about = moe::SavedState::read_about(file);
  for (const auto& [name, part] : about["parts"].items()) {
    std::printf("%s\n", (shown(name) + ": " + part.dump(2, ' ', true)).c_str());
  }
  double bytes = 0;
  for (const moe::TensorInfo& tensor : file.tensors()) {
    bytes += static_cast<double>(tensor.bytes.size());
    std::printf("%-48s %-8s %s\n", shown(tensor.name).c_str(),
                std::string(moe::dtype_name(tensor.dtype)).c_str(),
                moe::shape_text(tensor.shape).c_str());
  }
  std::printf("%zu tensors, %s\n", file.tensors().size(), size(bytes).c_str());
}

}  // namespace checkpoint
