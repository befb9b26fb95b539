// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The weights of a checkpoint: a WeightPlace -> floats, whatever they are stored as.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/io/dequantize.hpp"
#include "moe/io/safetensors.hpp"
#include "moe/kernel/share.hpp"

MOE_NAMESPACE_BEGIN

/// A place found in the files, and how its numbers are stored: as they are, in float8 with a scale
/// per block ("<name>_scale_inv"), or in MXFP4 ("<name>_blocks" and "_scales", or with a dot).
struct StoredWeight {
  const TensorInfo* tensor = nullptr;
  const TensorInfo* scales = nullptr;
  bool mxfp4 = false;

  std::string_view type() const { return mxfp4 ? "MXFP4" : dtype_name(tensor->dtype); }
};

/// Finds, checks and reads weights. Const, and may be used by many threads.
class CheckpointTensors {
 public:
  /// `scale_block`: rows and columns that share a float8 scale.
  CheckpointTensors(SafeTensors files, std::filesystem::path path,
                    std::pair<Index, Index> scale_block)
      : files_(std::move(files)), path_(std::move(path)), scale_block_(scale_block) {
    for (const TensorInfo& t : files_.tensors()) names_.push_back(t.name);
    std::sort(names_.begin(), names_.end());
  }

  const SafeTensors& files() const { return files_; }

  /// Does the name of any tensor start so?
  bool any_starts_with(std::string_view start) const {
    const auto at = std::lower_bound(names_.begin(), names_.end(), start);
    return at != names_.end() && at->starts_with(start);
  }

  /// Throws FileError naming the tensor and the shape it should have, unless it is there, has that
  /// shape, and holds numbers that are understood.
  StoredWeight find(const WeightPlace& place) const {
    if (const TensorInfo* t = files_.find(place.name)) {
      expect_shape(*t, place.shape);
      if (t->dtype == Dtype::f8_e4m3 || t->dtype == Dtype::f8_e5m2) return with_scales(*t, place);
      if (!is_float(t->dtype)) {
        SafeTensors::fail(*t, "is ", dtype_name(t->dtype), ", expected floating-point numbers");
      }
      return {t};
    }
    for (const char* separator : {"_", "."}) {
      const TensorInfo* blocks = files_.find(place.name + separator + "blocks");
      if (blocks == nullptr) continue;
      return as_mxfp4(*blocks, place, place.name + separator + "scales");
    }
    detail::fail_file(path_, "has no tensor ", detail::in_quotes(place.name), ", expected one of ",
                      shape_text(place.shape));
  }

  /// Bytes that the place takes in the files, scales included.
  static std::size_t bytes(const StoredWeight& w, const WeightPlace& place) {
    const auto count = static_cast<std::size_t>(place.rows * place.cols);
    if (w.mxfp4) return count / 2 + count / kMxfp4Block;
    return count * dtype_size(w.tensor->dtype) + (w.scales != nullptr ? w.scales->bytes.size() : 0);
  }

  /// The place's matrix to out, shaped like it. What was mapped on the way is given back as it goes.
  /// Throws as `find`.
  void read(const WeightPlace& place, MatrixView<float> out, ExecutorRef executor = {}) const {
    const StoredWeight w = find(place);
    if (place.col_step == 1) {
      read_rows(w, place, out, executor);
    } else {
      read_columns(w, place, out, executor);
    }
    if (w.scales != nullptr && !w.mxfp4) scale(w, out);
  }

 private:
  static constexpr Index kChunk = Index{4} << 20;  ///< values between two releases
  static constexpr Index kStrip = 16;              ///< columns turned at once

  static bool is_float(Dtype d) {
    return d == Dtype::f64 || d == Dtype::f32 || d == Dtype::f16 || d == Dtype::bf16;
  }
  static Index blocks_of(Index n, Index size) { return (n + size - 1) / size; }

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

  const TensorInfo& need(const std::string& name, const std::vector<Index>& shape) const {
    const TensorInfo* t = files_.find(name);
    if (t == nullptr) {
      detail::fail_file(path_, "has no tensor ", detail::in_quotes(name), ", expected one of ",
                        shape_text(shape));
    }
    expect_shape(*t, shape);
    return *t;
  }

  StoredWeight with_scales(const TensorInfo& t, const WeightPlace& place) const {
    if (place.shape.size() != 2 || place.rows != place.shape[0] || place.cols != place.shape[1]) {
      SafeTensors::fail(t, "is ", dtype_name(t.dtype), ", which is read only from tensors of two ",
                        "dimensions, one for each expert");
    }
    const auto [r, c] = scale_block_;
    const TensorInfo& scales =
        need(place.name + "_scale_inv", {blocks_of(place.rows, r), blocks_of(place.cols, c)});
    if (!is_float(scales.dtype) && scales.dtype != Dtype::f8_e8m0) {
      SafeTensors::fail(scales, "is ", dtype_name(scales.dtype),
                        ", expected floating-point scales");
    }
    return {&t, &scales};
  }

  StoredWeight as_mxfp4(const TensorInfo& blocks, const WeightPlace& place,
                        const std::string& scales_name) const {
    std::vector<Index> shape = place.shape;
    if (place.col_step != 1 || shape.back() % kMxfp4Block != 0) {
      SafeTensors::fail(blocks, "holds blocks of ", kMxfp4Block, " values along rows of ",
                        shape.back(), ", expected a multiple of ", kMxfp4Block);
    }
    shape.back() /= kMxfp4Block;
    const TensorInfo& scales = need(scales_name, shape);
    shape.push_back(kMxfp4Block / 2);
    expect_shape(blocks, shape);
    for (const TensorInfo* t : {&blocks, &scales}) {
      if (t->dtype != Dtype::u8) {
        SafeTensors::fail(*t, "is ", dtype_name(t->dtype), ", expected U8");
      }
    }
    return {&blocks, &scales, true};
  }

  /// Elements [first, first + count) of one row of the tensor.
  static void read_span(const StoredWeight& w, Index first, Index count, float* out) {
    if (!w.mxfp4) {
      const Index cols = w.tensor->cols();
      return SafeTensors::read_block(*w.tensor, first / cols, first % cols,
                                     MatrixView<float>(out, 1, count));
    }
    const auto block = static_cast<std::size_t>(first / kMxfp4Block);
    const auto n = static_cast<std::size_t>(count / kMxfp4Block);
    dequantize_mxfp4(w.tensor->bytes.subspan(block * kMxfp4Block / 2, n * kMxfp4Block / 2),
                     w.scales->bytes.subspan(block, n), {out, static_cast<std::size_t>(count)});
  }

  /// Gives back the pages of elements [first, last).
  void release(const StoredWeight& w, Index first, Index last) const {
    const auto at = [&](Index element) {
      return w.mxfp4 ? static_cast<std::size_t>(element / 2)
                     : static_cast<std::size_t>(element) * dtype_size(w.tensor->dtype);
    };
    TensorInfo part;
    part.file = w.tensor->file;
    part.bytes = w.tensor->bytes.subspan(at(first), at(last) - at(first));
    files_.release(part);
  }

  /// Rows of the matrix are contiguous in the tensor.
  void read_rows(const StoredWeight& w, const WeightPlace& p, MatrixView<float> out,
                 ExecutorRef executor) const {
    const Index chunk = std::max<Index>(1, kChunk / p.cols);
    detail::run_threads(executor, executor.size(), [&](Index thread, Index threads) {
      const detail::Range mine = detail::part_of(p.rows, thread, threads);
      for (Index r0 = mine.begin; r0 < mine.end; r0 += chunk) {
        const Index r1 = std::min(mine.end, r0 + chunk);
        for (Index r = r0; r < r1; ++r) read_span(w, p.first + r * p.row_step, p.cols, out.row(r));
        release(w, p.first + r0 * p.row_step, p.first + (r1 - 1) * p.row_step + p.cols);
      }
    });
  }

  /// Columns of the matrix lie along the tensor's rows, side by side or every second value.
  void read_columns(const StoredWeight& w, const WeightPlace& p, MatrixView<float> out,
                    ExecutorRef executor) const {
    const Index length = (p.rows - 1) * p.row_step + 1;
    const Index strips = blocks_of(p.cols, kStrip);
    const Index chunk = std::max<Index>(1, kChunk / (kStrip * p.col_step));
    std::vector<float> all(static_cast<std::size_t>(executor.size() * kStrip * length));
    detail::run_threads(executor, executor.size(), [&](Index thread, Index threads) {
      float* lines = all.data() + thread * kStrip * length;
      const detail::Range mine = detail::part_of(strips, thread, threads);
      Index kept = mine.begin * kStrip;  // the first column not given back
      for (Index s = mine.begin; s < mine.end; ++s) {
        const Index c0 = s * kStrip, n = std::min(kStrip, p.cols - c0);
        for (Index i = 0; i < n; ++i) {
          read_span(w, p.first + (c0 + i) * p.col_step, length, lines + i * length);
        }
        for (Index r = 0; r < p.rows; ++r) {
          for (Index i = 0; i < n; ++i) out(r, c0 + i) = lines[i * length + r * p.row_step];
        }
        if ((s + 1 - mine.begin) % chunk != 0 && s + 1 != mine.end) continue;
        release(w, p.first + kept * p.col_step, p.first + (c0 + n - 1) * p.col_step + length);
        kept = c0 + n;
      }
    });
  }

  void scale(const StoredWeight& w, MatrixView<float> out) const {
    Matrix<float> scales(blocks_of(out.rows(), scale_block_.first),
                         blocks_of(out.cols(), scale_block_.second));
    const Index n = w.scales->cols();
    for (Index r = 0; r < w.scales->rows(); ++r) {
      SafeTensors::read_block(*w.scales, r, 0, MatrixView<float>(scales.data() + r * n, 1, n));
    }
    apply_block_scales({scales, scale_block_.first, scale_block_.second}, 0, 0, out);
    files_.release(*w.scales);
  }

  SafeTensors files_;
  std::filesystem::path path_;
  std::pair<Index, Index> scale_block_;
  std::vector<std::string_view> names_;  ///< sorted
};

MOE_NAMESPACE_END
