// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The numbers of a checkpoint's config.json, each checked as it is asked for.
#pragma once

#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "moe/io/json.hpp"
#include "moe/kernel/problem.hpp"

MOE_NAMESPACE_BEGIN

/// config.json, or the part of it that describes the language model ("text_config"). null counts as
/// absent. Everything that is missing or not as expected throws FileError naming file and key.
class ModelConfig {
 public:
  static constexpr Index kMostExperts = 1 << 16, kLargestDim = 1 << 22, kMostLayers = 1 << 14;

  /// `path`: the file the JSON came from, for messages.
  ModelConfig(Json json, std::filesystem::path path)
      : json_(std::move(json)), path_(std::move(path)) {
    if (!json_.is_object()) detail::fail_file(path_, "is not a JSON object");
    for (const char* key : {"compression_config", "quantization_config"}) {
      if (!quantization_.is_object() && json_.contains(key)) quantization_ = json_[key];
    }
    model_type_ = text("model_type", "");
    const Json* names = find("architectures");
    if (names != nullptr && names->is_array() && !names->empty() && names->front().is_string()) {
      architecture_ = names->front().get<std::string>();
    }
    const auto inner = json_.find("text_config");
    if (inner == json_.end() || !inner->is_object()) return;
    Json part = *inner;
    json_ = std::move(part);
    const Json* own = find("quantization_config");
    if (own != nullptr && own->is_object()) quantization_ = *own;
    text_model_type_ = text("model_type", "");
  }

  /// What the file says it is; empty when it does not.
  const std::string& model_type() const { return model_type_; }
  /// The same of "text_config", empty without one.
  const std::string& text_model_type() const { return text_model_type_; }
  /// The first of "architectures", empty without.
  const std::string& architecture() const { return architecture_; }
  const std::filesystem::path& path() const { return path_; }

  bool has(const std::string& key) const {
    const Json* value = find(key);
    return value != nullptr;
  }

  /// Is the key there, with null?
  bool is_null(const std::string& key) const {
    const auto value = json_.find(key);
    return value != json_.end() && value->is_null();
  }

  /// A whole number in [least, most].
  Index count(const std::string& key, Index least, Index most) const {
    const Json* value = find(key);
    if (value == nullptr) fail(key, "is missing, expected a whole number");
    return count_of(key, *value, least, most);
  }
  Index count_or(const std::string& key, Index fallback, Index least, Index most) const {
    const Json* value = find(key);
    return value == nullptr ? fallback : count_of(key, *value, least, most);
  }
  Index dim(const std::string& key) const { return count(key, 1, kLargestDim); }
  Index experts(const std::string& key) const { return count(key, 1, kMostExperts); }
  Index layers(const std::string& key) const { return count(key, 1, kMostLayers); }

  /// A finite number.
  double number_or(const std::string& key, double fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number()) fail(key, "is ", shown(*value), ", expected a number");
    const double x = value->get<double>();
    if (!std::isfinite(x)) fail(key, "is ", shown(*value), ", expected a finite number");
    return x;
  }
  bool flag_or(const std::string& key, bool fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) fail(key, "is ", shown(*value), ", expected true or false");
    return value->get<bool>();
  }
  std::string text(const std::string& key, const std::string& fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) fail(key, "is ", shown(*value), ", expected a text");
    return value->get<std::string>();
  }

  /// Throws unless the key is absent or one of `known`.
  void expect_text(const std::string& key, std::initializer_list<std::string_view> known) const {
    if (!has(key)) return;
    const std::string value = text(key, "");
    std::string names;
    for (const std::string_view name : known) {
      if (value == name) return;
      names.append(names.empty() ? "" : ", ").append(name);
    }
    fail(key, "is ", detail::in_quotes(value),
         ", which this family's layer does not know; known: ", names);
  }

  /// The nonlinearity that config.json calls by `key`.
  Activation activation(const std::string& key, const std::string& fallback) const {
    const std::string name = text(key, fallback);
    if (name == "silu" || name == "swish") return Activation::silu;
    if (name == "gelu") return Activation::gelu;
    if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
    if (name == "relu") return Activation::relu;
    fail(key, "is ", detail::in_quotes(name),
         ", expected silu, gelu, gelu_new, gelu_pytorch_tanh or relu");
  }

  /// The object under `key` as a configuration of its own.
  ModelConfig part(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr || !value->is_object()) fail(key, "is not there, expected an object");
    return {*value, path_};
  }

  /// "fp8", "mxfp4", empty, or what is not known here.
  std::string quantization() const {
    if (!quantization_.is_object()) return "";
    const std::string method = quantization_text("quant_method");
    return method == "fbgemm_fp8" || is_compressed_floats() ? "fp8"
           : method.empty()                                 ? "unknown"
                                                            : method;
  }
  /// Float8 as llm-compressor writes it, which also takes fused experts apart.
  bool is_compressed_floats() const {
    const std::string method = quantization_text("quant_method");
    return (method == "compressed-tensors" || method == "compressed_tensors") &&
           quantization_text("format") == "float-quantized";
  }
  /// Rows and columns that share a scale: quantization_config.weight_block_size, else [128, 128].
  std::pair<Index, Index> scale_block() const {
    constexpr auto* kKey = "weight_block_size";
    if (!quantization_.is_object() || !quantization_.contains(kKey)) return {128, 128};
    const Json& size = quantization_[kKey];
    if (!size.is_array() || size.size() != 2) {
      fail(kKey, "is ", shown(size), ", expected two whole numbers");
    }
    return {count_of(kKey, size[0], 1, kLargestDim), count_of(kKey, size[1], 1, kLargestDim)};
  }

  /// Throws FileError("<path>: '<key>' <parts joined>").
  template <class... Parts>
  [[noreturn]] void fail(const std::string& key, const Parts&... parts) const {
    detail::fail_file(path_, "'", key, "' ", parts...);
  }

 private:
  const Json* find(const std::string& key) const {
    const auto at = json_.find(key);
    return at == json_.end() || at->is_null() ? nullptr : &*at;
  }

  std::string quantization_text(const char* key) const {
    if (!quantization_.is_object()) return "";
    const auto at = quantization_.find(key);
    return at != quantization_.end() && at->is_string() ? at->get<std::string>() : "";
  }

  static std::string shown(const Json& value) {
    constexpr auto kReplace = Json::error_handler_t::replace;
    return value.is_structured() ? value.type_name()
                                 : detail::in_quotes(value.dump(-1, ' ', true, kReplace));
  }

  Index count_of(const std::string& key, const Json& value, Index least, Index most) const {
    const bool inside = value.is_number_unsigned()
                            ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most) &&
                                  std::cmp_greater_equal(value.get<std::uint64_t>(), least)
                            : value.is_number_integer() && value.get<std::int64_t>() >= least &&
                                  value.get<std::int64_t>() <= most;
    if (!inside) {
      fail(key, "is ", shown(value), ", expected a whole number from ", least, " to ", most);
    }
    return static_cast<Index>(value.get<std::int64_t>());
  }

  Json json_;
  Json quantization_;
  std::filesystem::path path_;
  std::string model_type_, text_model_type_, architecture_;
};

MOE_NAMESPACE_END
