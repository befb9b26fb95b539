// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Writes safetensors files, tensor by tensor, whole or not at all. Needs nlohmann_json.
#pragma once

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>

#include "moe/io/atomic_file.hpp"
#include "moe/io/dtype.hpp"
#include "moe/io/safetensors_header.hpp"

MOE_NAMESPACE_BEGIN

/// A tensor to be written: the header, which comes first, lists them all.
struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<Index> shape;
};

/// Usage: all specs to the constructor, then write() for each tensor, in any order and in as many
/// pieces as wanted, then finish(). What was at the path stays until finish() has everything on the
/// disk; leaving earlier, by exception too, leaves it for good. The same specs, texts and values
/// give the same bytes.
class SafeTensorsWriter {
 public:
  /// Throws std::invalid_argument when a name is there twice, is "__metadata__" or not UTF-8, or a
  /// shape is negative or overflows; FileError when the file cannot be created.
  SafeTensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> specs,
                    const std::map<std::string, std::string>& metadata = {})
      : specs_(std::move(specs)) {
    place();
    const std::string header = header_text(metadata);
    const auto length = static_cast<std::uint64_t>(header.size());
    data_ = sizeof(length) + header.size();
    file_ = AtomicFile(path);
    file_.write(0, std::as_bytes(std::span(&length, 1)));
    file_.write(sizeof(length), std::as_bytes(std::span(header)));
  }

  /// The next bytes of a tensor. Throws std::invalid_argument when there is no such tensor or it is
  /// smaller; FileError when the disk is full.
  void write(std::string_view name, std::span<const std::byte> bytes) {
    const auto found = by_name_.find(std::string(name));
    if (found == by_name_.end()) fail("no tensor ", detail::in_quotes(name), " was announced");
    Place& place = places_[found->second];
    if (bytes.size() > place.bytes - place.written) {
      fail("tensor ", detail::in_quotes(name), " has ", place.bytes, " bytes, got ",
           place.written + bytes.size());
    }
    file_.write(data_ + place.begin + place.written, bytes);
    place.written += bytes.size();
  }

  /// Rows of numbers, whatever their stride. Throws also when the tensor holds another dtype.
  template <class T>
  void write(std::string_view name, MatrixView<T> rows) {
    const auto found = by_name_.find(std::string(name));
    if (found != by_name_.end() &&
        specs_[found->second].dtype != dtype_of<std::remove_const_t<T>>()) {
      fail("tensor ", detail::in_quotes(name), " is ", dtype_name(specs_[found->second].dtype),
           ", got values of ", dtype_name(dtype_of<std::remove_const_t<T>>()));
    }
    const auto cols = static_cast<std::size_t>(rows.cols());
    if (rows.stride() == rows.cols()) {
      const auto all = cols * static_cast<std::size_t>(rows.rows());
      return write(name, std::as_bytes(std::span(rows.data(), all)));
    }
    for (Index r = 0; r < rows.rows(); ++r) {
      write(name, std::as_bytes(std::span(rows.row(r), cols)));
    }
  }
  template <detail::DirectEigen M>
  void write(std::string_view name, const M& matrix) {
    write(name, MatrixView<const typename M::Scalar>(matrix));
  }

  /// Puts the file in place. Throws std::invalid_argument naming a tensor that is not complete, and
  /// FileError when the disk is full; what was at the path is then untouched.
  void finish() {
    for (std::size_t i = 0; i < specs_.size(); ++i) {
      if (places_[i].written != places_[i].bytes) {
        fail("tensor ", detail::in_quotes(specs_[i].name), " has ", places_[i].bytes,
             " bytes, got ", places_[i].written);
      }
    }
    file_.commit();
  }

 private:
  struct Place {
    std::size_t begin = 0, bytes = 0, written = 0;
  };

  template <class... Parts>
  [[noreturn]] static void fail(const Parts&... parts) {
    detail::fail("moe::SafeTensorsWriter", parts...);
  }

  /// Widest elements first, so that every tensor is aligned for a view.
  void place() {
    order_.resize(specs_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
      const auto wide_a = dtype_size(specs_[a].dtype), wide_b = dtype_size(specs_[b].dtype);
      return wide_a != wide_b ? wide_a > wide_b : a < b;
    });
    places_.resize(specs_.size());
    Index at = 0;
    for (const std::size_t i : order_) {
      const Index bytes = bytes_of(specs_[i]);
      places_[i] = {static_cast<std::size_t>(at), static_cast<std::size_t>(bytes), 0};
      if (__builtin_add_overflow(at, bytes, &at)) fail("the tensors' bytes overflow");
      if (!by_name_.emplace(specs_[i].name, i).second || specs_[i].name == "__metadata__") {
        fail("tensor ", detail::in_quotes(specs_[i].name),
             " is there twice or may not be named so");
      }
    }
  }

  static Index bytes_of(const TensorSpec& spec) {
    auto bytes = static_cast<Index>(dtype_size(spec.dtype));
    for (const Index n : spec.shape) {
      if (n < 0 || __builtin_mul_overflow(bytes, n, &bytes)) {
        fail("tensor ", detail::in_quotes(spec.name), " has ", n,
             " in its shape: negative, or the product overflows");
      }
    }
    return bytes;
  }

  /// Entries in the order of places_, padded so that the tensors start at a multiple of 64 bytes.
  std::string header_text(const std::map<std::string, std::string>& metadata) const {
    std::string text = "{";
    const auto add_key = [&](std::string_view key) {
      text.append(text.size() > 1 ? "," : "").append(Json(key).dump()).append(":");
    };
    try {
      if (!metadata.empty()) {
        add_key("__metadata__");
        text += Json(metadata).dump();
      }
      for (const std::size_t i : order_) {
        add_key(specs_[i].name);
        const std::size_t begin = places_[i].begin, end = begin + places_[i].bytes;
        text.append("{\"dtype\":\"").append(dtype_name(specs_[i].dtype));
        text.append("\",\"shape\":").append(Json(specs_[i].shape).dump());
        text.append(",\"data_offsets\":[").append(std::to_string(begin)).append(",");
        text.append(std::to_string(end)).append("]}");
      }
    } catch (const Json::exception& error) {
      fail("a name or a text is not UTF-8: ", detail::parser_message(error));
    }
    text += "}";
    constexpr std::size_t kAlignment = 64;
    const std::size_t used = sizeof(std::uint64_t) + text.size();
    text.append((kAlignment - used % kAlignment) % kAlignment, ' ');
    if (text.size() > detail::kLongestHeader) {
      fail("the header has ", text.size(), " bytes, expected at most ", detail::kLongestHeader);
    }
    return text;
  }

  std::vector<TensorSpec> specs_;
  std::vector<Place> places_;       // of specs_
  std::vector<std::size_t> order_;  // of specs_ in the file
  std::unordered_map<std::string, std::size_t> by_name_;
  std::size_t data_ = 0;  // where the tensors' bytes start
  AtomicFile file_;
};

MOE_NAMESPACE_END
