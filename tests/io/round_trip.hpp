// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers to a file and back bit for bit, and what hostile configurations do.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>
#include <string>

#include "io/temporary_folder.hpp"
#include "moe/io/layer_file.hpp"
#include "support/catch.hpp"

namespace moe_test {

/// Numbers that a copy by text would not survive.
template <class L>
void scramble(L& layer) {
  moe::Random random(5);
  layer.visit_parameters([&](std::string_view, auto& p) {
    using S = typename std::remove_cvref_t<decltype(p.value)>::Scalar;
    for (moe::Index i = 0; i < p.value.size(); ++i) {
      p.value.data()[i] = static_cast<S>(random.normal() * 1e-3);
    }
    p.value.data()[0] = std::numeric_limits<S>::denorm_min();
    p.value.data()[p.value.size() - 1] = -S(0);
  });
}

/// Names and bytes of all there is.
template <class L>
std::string everything(L& layer) {
  std::string all;
  const auto add = [&](std::string_view name, const auto* data, std::size_t count) {
    all += name;
    all.append(reinterpret_cast<const char*>(data), count * sizeof(*data));
  };
  layer.visit_parameters([&](std::string_view name, auto& p) {
    add(name, p.value.data(), static_cast<std::size_t>(p.value.size()));
  });
  if constexpr (moe::HasState<L>) {
    layer.visit_state([&](std::string_view name, auto& value, auto&&...) {
      const auto values = moe::detail::leaf_values(value);
      add(name, values.data, values.count());
    });
  }
  return all;
}

/// What the layer makes of a few tokens, in one sequence.
template <class L>
moe::Matrix<typename L::Scalar> output_of(const L& layer) {
  using S = typename L::Scalar;
  moe::Random random(77);
  moe::Matrix<S> x(6, layer.model_dim());
  for (moe::Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<S>(random.normal());
  moe::Index columns = layer.model_dim();
  if constexpr (requires { layer.output_dim(); }) columns = layer.output_dim();
  moe::Matrix<S> y(6, columns);
  typename L::Workspace workspace;
  layer.forward(x, y, workspace);
  return y;
}

/// Saves, loads, and compares bytes, outputs and files. Returns what was loaded.
template <class L>
L check_round_trip(L& layer) {
  const TemporaryFolder folder;
  const auto path = folder / "layer.safetensors";
  const std::string before = everything(layer);
  moe::save_layer(path, layer);
  INFO(moe::Json::parse(moe::SafeTensors(path).metadata().at("moe")).dump(1));
  CHECK(moe::saved_layer_type(path) == moe::type_label<L>());
  L loaded = moe::load_layer<L>(path);
  CHECK(everything(loaded) == before);
  CHECK(moe::detail::describe(loaded) == moe::detail::describe(layer));
  const std::string bytes = file_bytes(path);
  moe::save_layer(path, loaded);  // the same layer is the same file
  CHECK(file_bytes(path) == bytes);
  return loaded;
}

/// The file with what it says of its parts changed by edit(Json&), its tensors as they are.
template <class F>
std::filesystem::path with_description(const std::filesystem::path& from,
                                       const std::filesystem::path& to, F&& edit) {
  const std::string bytes = file_bytes(from);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  moe::Json header = moe::Json::parse(bytes.substr(sizeof(length), length));
  moe::Json about = moe::Json::parse(header["__metadata__"]["moe"].get<std::string>());
  edit(about);
  header["__metadata__"]["moe"] = about.dump();
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::ofstream(to, std::ios::binary)
      << safetensors_bytes(text, bytes.substr(sizeof(length) + length));
  return to;
}

/// Every number, text, list and object of the layer's configuration replaced by what no honest file
/// has: loading must refuse by a FileError, or make a layer that runs. Returns how many were refused.
template <class L>
int check_hostile(L& layer) {
  const TemporaryFolder folder;
  const auto path = folder / "layer.safetensors", bad = folder / "bad.safetensors";
  moe::save_layer(path, layer);
  const moe::Json honest =
      moe::Json::parse(moe::SafeTensors(path).metadata().at("moe"))["parts"]["layer"]["config"];
  const std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  const moe::Json values[] = {-1,
                              0,
                              1,
                              3,
                              70'000,
                              std::int64_t{1} << 31,
                              1.5,
                              "wrong",
                              nullptr,
                              true,
                              moe::Json::array(),
                              moe::Json::object(),
                              std::int64_t{1} << 40,
                              std::int64_t{1} << 62,
                              largest};
  int refused = 0;
  const moe::Json flat = honest.flatten();
  std::set<std::string> places;  // leaves, and whatever holds them
  for (const auto& [pointer, leaf] : flat.items()) {
    for (std::size_t end = pointer.size(); end != 0 && end != std::string::npos;
         end = pointer.rfind('/', end - 1)) {
      places.insert(pointer.substr(0, end));
    }
  }
  for (const std::string& pointer : places) {
    for (const moe::Json& value : values) {
      with_description(path, bad, [&](moe::Json& about) {
        about["parts"]["layer"]["config"][moe::Json::json_pointer(pointer)] = value;
      });
      CAPTURE(pointer, value.dump());
      try {
        L loaded = moe::load_layer<L>(bad);
        CHECK(loaded.model_dim() == layer.model_dim());
        try {
          output_of(loaded);
        } catch (const std::invalid_argument&) {  // such as a hash router, which got no token ids
        }
      } catch (const moe::FileError& error) {
        ++refused;
        CHECK_THAT(error.what(), StartsWith(bad.string() + ": "));
        CHECK_THAT(error.what(), !ContainsSubstring("fit into memory"));
      }
    }
  }
  return refused;
}

}  // namespace moe_test
