// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// How a weight's numbers are stored in a checkpoint: as they are, in float8 with scales, or in float4.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/io/dequantize.hpp"
#include "moe/io/safetensors.hpp"

MOE_NAMESPACE_BEGIN

/// A place found in the files. Float8 has a scale for each block of rows and columns, or for each row
/// of the matrix (one for all being a row step of 0); MXFP4 its own.
struct StoredWeight {
  const TensorInfo* tensor = nullptr;
  const TensorInfo* scales = nullptr;
  bool mxfp4 = false;
  bool by_row = false;
  Index first_scale = 0, scale_step = 0;  ///< by_row: row r has scale first_scale + r * scale_step

  std::string_view type() const { return mxfp4 ? "MXFP4" : dtype_name(tensor->dtype); }
};

/// Finds and checks weights in the files of one checkpoint.
class WeightFinder {
 public:
  /// `scale_block`: rows and columns that share a float8 scale.
  WeightFinder(std::filesystem::path path, std::pair<Index, Index> scale_block)
      : path_(std::move(path)), scale_block_(scale_block) {}

  std::pair<Index, Index> scale_block() const { return scale_block_; }

  /// Throws FileError naming the tensor and the shape it should have, unless it is there, has that
  /// shape, and holds numbers that are understood.
  StoredWeight find(const SafeTensors& files, const WeightPlace& place) const {
    if (const TensorInfo* t = files.find(place.name)) {
      const bool pairs = t->dtype == Dtype::i8 || t->dtype == Dtype::u8;
      const bool scaled = t->dtype == Dtype::f8_e4m3 || t->dtype == Dtype::f8_e5m2;
      if ((pairs || scaled) && place.shape.size() == 1) {
        SafeTensors::fail(*t, "is a vector of ", dtype_name(t->dtype),
                          ", expected F64, F32, F16 or BF16: only matrices have scales");
      }
      if (pairs) return packed_pairs(files, *t, place);
      expect_shape(*t, place.shape);
      if (scaled) return with_scales(files, *t, place);
      if (!is_float(t->dtype)) {
        SafeTensors::fail(*t, "is ", dtype_name(t->dtype), ", expected floating-point numbers");
      }
      return {t};
    }
    for (const char* separator : {"_", "."}) {
      const TensorInfo* blocks = files.find(place.name + separator + "blocks");
      if (blocks == nullptr) continue;
      return as_mxfp4(files, *blocks, place, place.name + separator + "scales");
    }
    fail_missing(place.name, place.shape);
  }

  /// The tensor, of this shape. Throws as find.
  const TensorInfo& need(const SafeTensors& files, const std::string& name,
                         const std::vector<Index>& shape) const {
    const TensorInfo* t = files.find(name);
    if (t == nullptr) fail_missing(name, shape);
    expect_shape(*t, shape);
    return *t;
  }

  static Index blocks_of(Index n, Index size) { return (n + size - 1) / size; }

 private:
  static bool is_float(Dtype d) {
    return d == Dtype::f64 || d == Dtype::f32 || d == Dtype::f16 || d == Dtype::bf16;
  }

  /// Without the dimensions of 1, which come and go between releases of a model.
  static std::vector<Index> squeezed(std::vector<Index> shape) {
    shape.erase(std::remove(shape.begin(), shape.end(), Index{1}), shape.end());
    return shape;
  }
  static void expect_shape(const TensorInfo& t, const std::vector<Index>& shape) {
    if (squeezed(t.shape) != squeezed(shape)) {
      SafeTensors::fail(t, "is ", shape_text(t.shape), ", expected ", shape_text(shape));
    }
  }
  [[noreturn]] void fail_missing(const std::string& name, const std::vector<Index>& shape) const {
    detail::fail_file(path_, "has no tensor ", detail::in_quotes(name), ", expected one of ",
                      shape_text(shape));
  }

  /// "x.weight" with "x.weight_scale_inv" (DeepSeek), "x.weight_scale" (compressed-tensors, fbgemm) or
  /// "x.scale" (DeepSeek-V4).
  static const TensorInfo* find_scales(const SafeTensors& files, const std::string& name) {
    for (const std::string& known : {name + "_scale_inv", name + "_scale", scale_name(name)}) {
      if (const TensorInfo* t = files.find(known)) return t;
    }
    return nullptr;
  }
  static std::string scale_name(const std::string& name) {
    constexpr std::string_view kWeight = ".weight";
    const std::size_t stem = name.ends_with(kWeight) ? name.size() - kWeight.size() : name.size();
    return name.substr(0, stem) + ".scale";
  }

  StoredWeight with_scales(const SafeTensors& files, const TensorInfo& t,
                           const WeightPlace& place) const {
    const bool whole = place.shape.size() == 2;  // one matrix, else those of all experts
    const Index rows = whole ? blocks_of(place.rows, scale_block_.first) : place.shape.front();
    const Index cols = whole ? blocks_of(place.cols, scale_block_.second) : 1;
    const TensorInfo* found = find_scales(files, place.name);
    if (found == nullptr) fail_missing(place.name + "_scale_inv", {rows, cols});
    const TensorInfo& scales = *found;
    if (!is_float(scales.dtype) && scales.dtype != Dtype::f8_e8m0) {
      SafeTensors::fail(scales, "is ", dtype_name(scales.dtype),
                        ", expected floating-point scales");
    }
    const std::vector<Index> shape = squeezed(scales.shape);
    // A column of scales is not a row of as many: in two dimensions, 1 counts.
    const auto are = [&](const std::vector<Index>& expected) {
      return scales.shape.size() == 2 ? scales.shape == expected : shape == squeezed(expected);
    };
    const bool own = whole && place.rows == place.shape[0];
    if (own && are({rows, cols})) return {&t, &scales};
    if (shape.empty()) return {&t, &scales, false, true};
    if (own && are({place.rows, 1})) return {&t, &scales, false, true, 0, 1};
    if (place.shape.size() == 3) return of_all_experts(t, scales, shape, place);
    SafeTensors::fail(scales, "is ", shape_text(scales.shape), ", expected ",
                      shape_text(std::vector<Index>{rows, cols}), ", [1] or [", place.rows, ", 1]");
  }

  /// A tensor [E, a, b]: a scale for each expert, or for each output of each expert.
  static StoredWeight of_all_experts(const TensorInfo& t, const TensorInfo& scales,
                                     const std::vector<Index>& shape, const WeightPlace& place) {
    const bool transposed = place.col_step != 1;
    const Index experts = place.shape[0], width = place.shape[2];
    const Index outputs = transposed ? width : place.shape[1];
    const Index expert = place.first / (place.shape[1] * width);
    const Index inside = place.first % (place.shape[1] * width);
    if (shape == squeezed({experts})) return {&t, &scales, false, true, expert, 0};
    if (shape == squeezed({experts, outputs})) {
      const Index row = transposed ? inside % width : inside / width;
      const Index step = transposed ? place.row_step : place.row_step / width;
      return {&t, &scales, false, true, expert * outputs + row, step};
    }
    SafeTensors::fail(scales, "is ", shape_text(scales.shape), ", expected [", experts, "] or [",
                      experts, ", ", outputs, "]");
  }

  StoredWeight as_mxfp4(const SafeTensors& files, const TensorInfo& blocks,
                        const WeightPlace& place, const std::string& scales_name) const {
    std::vector<Index> shape = mxfp4_scales(blocks, place);
    const TensorInfo& scales = need(files, scales_name, shape);
    shape.push_back(kMxfp4Block / 2);
    expect_shape(blocks, shape);
    for (const TensorInfo* t : {&blocks, &scales}) {
      if (t->dtype != Dtype::u8) {
        SafeTensors::fail(*t, "is ", dtype_name(t->dtype), ", expected U8");
      }
    }
    return {&blocks, &scales, true};
  }

  /// MXFP4 as DeepSeek-V4 has it: two values to a byte under the weight's own name.
  StoredWeight packed_pairs(const SafeTensors& files, const TensorInfo& pairs,
                            const WeightPlace& place) const {
    const std::vector<Index> blocks = mxfp4_scales(pairs, place);
    std::vector<Index> shape = place.shape;
    shape.back() /= 2;
    expect_shape(pairs, shape);
    const TensorInfo* scales = find_scales(files, place.name);
    if (scales == nullptr) fail_missing(scale_name(place.name), blocks);
    expect_shape(*scales, blocks);
    if (scales->dtype != Dtype::f8_e8m0 && scales->dtype != Dtype::u8) {
      SafeTensors::fail(*scales, "is ", dtype_name(scales->dtype), ", expected F8_E8M0 or U8");
    }
    return {&pairs, scales, true};
  }

  /// The shape of the scales: one for 32 values along the rows.
  static std::vector<Index> mxfp4_scales(const TensorInfo& blocks, const WeightPlace& place) {
    std::vector<Index> shape = place.shape;
    if (place.col_step != 1 || shape.back() % kMxfp4Block != 0) {
      SafeTensors::fail(blocks, "holds blocks of ", kMxfp4Block, " values along rows of ",
                        shape.back(), ", expected a multiple of ", kMxfp4Block);
    }
    shape.back() /= kMxfp4Block;
    return shape;
  }

  std::filesystem::path path_;
  std::pair<Index, Index> scale_block_;
};

MOE_NAMESPACE_END
