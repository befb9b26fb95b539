// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The weights of a checkpoint: a WeightPlace -> floats, whatever they are stored as.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "moe/io/checkpoint/stored_weight.hpp"
#include "moe/kernel/share.hpp"

MOE_NAMESPACE_BEGIN

/// Finds, checks and reads weights. Const, and may be used by many threads.
class CheckpointTensors {
 public:
  /// `scale_block`: rows and columns that share a float8 scale.
  CheckpointTensors(SafeTensors files, std::filesystem::path path,
                    std::pair<Index, Index> scale_block)
      : files_(std::move(files)), finder_(std::move(path), scale_block) {
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
  StoredWeight find(const WeightPlace& place) const { return finder_.find(files_, place); }

  /// Throws FileError unless the place has whole numbers.
  const TensorInfo& check_integers(const WeightPlace& place) const {
    const TensorInfo& t = finder_.need(files_, place.name, place.shape);
    if (t.dtype != Dtype::i64 && t.dtype != Dtype::i32) {
      SafeTensors::fail(t, "is ", dtype_name(t.dtype), ", expected I64 or I32");
    }
    return t;
  }
  /// Whole numbers [rows, cols]. Throws also when one does not fit.
  std::vector<std::int32_t> integers(const WeightPlace& place) const {
    const TensorInfo& t = check_integers(place);
    std::vector<std::int32_t> values(static_cast<std::size_t>(t.size()));
    SafeTensors::read(t, MatrixView<std::int32_t>(values.data(), t.rows(), t.cols()));
    return values;
  }

  /// Bytes that the place takes in the files, scales included.
  static std::size_t bytes(const StoredWeight& w, const WeightPlace& place) {
    const auto count = static_cast<std::size_t>(place.rows * place.cols);
    if (w.mxfp4) return count / 2 + count / kMxfp4Block;
    std::size_t scales = w.scales == nullptr ? 0 : w.scales->bytes.size();
    if (w.by_row) {
      scales = (w.scale_step == 0 ? 1 : static_cast<std::size_t>(place.rows)) *
               dtype_size(w.scales->dtype);
    }
    return count * dtype_size(w.tensor->dtype) + scales;
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

  /// Elements [first, first + count) of the tensor, whatever its shape.
  static void read_span(const StoredWeight& w, Index first, Index count, float* out) {
    if (!w.mxfp4) return read_flat(*w.tensor, first, count, out);
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
    const Index strips = WeightFinder::blocks_of(p.cols, kStrip);
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
    if (w.by_row) {
      scale_rows(w, out);
    } else {
      const auto [rows, cols] = finder_.scale_block();
      Matrix<float> scales(WeightFinder::blocks_of(out.rows(), rows),
                           WeightFinder::blocks_of(out.cols(), cols));
      read_flat(*w.scales, 0, scales.size(), scales.data());
      apply_block_scales({scales, rows, cols}, 0, 0, out);
    }
    files_.release(*w.scales);
  }

  static void scale_rows(const StoredWeight& w, MatrixView<float> out) {
    const Index last = (out.rows() - 1) * w.scale_step;
    std::vector<float> scales(static_cast<std::size_t>(last + 1));
    read_flat(*w.scales, w.first_scale, last + 1, scales.data());
    for (Index r = 0; r < out.rows(); ++r) {
      const float scale = scales[static_cast<std::size_t>(r * w.scale_step)];
      for (Index c = 0; c < out.cols(); ++c) out(r, c) *= scale;
    }
  }

  /// Nothing here may throw: it runs on the threads of an executor.
  static void read_flat(const TensorInfo& t, Index first, Index count, float* out) {
    const auto bytes = [&](Index n) { return static_cast<std::size_t>(n) * dtype_size(t.dtype); };
    detail::convert<float>(t.dtype, t.bytes.subspan(bytes(first), bytes(count)), out);
  }

  SafeTensors files_;
  WeightFinder finder_;
  std::vector<std::string_view> names_;  ///< sorted
};

MOE_NAMESPACE_END
