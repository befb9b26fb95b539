// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Reads safetensors files: one, or the shards of a checkpoint. Needs nlohmann_json.
#pragma once

#include "moe/io/convert.hpp"
#include "moe/io/safetensors_header.hpp"
#include "moe/io/safetensors_index.hpp"

MOE_NAMESPACE_BEGIN

/// One tensor of a file, not yet read.
struct TensorInfo {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<Index> shape;          ///< row-major; empty for a single number
  std::span<const std::byte> bytes;  ///< in the map
  const std::filesystem::path* file = nullptr;

  /// As a matrix: the last dimension is the columns, all others together the rows. [n] is one row.
  Index cols() const { return shape.empty() ? 1 : shape.back(); }
  Index rows() const {
    Index n = 1;
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) n *= shape[i];
    return n;
  }
  Index size() const { return rows() * cols(); }
};

/// "[3, 4]".
inline std::string shape_text(std::span<const Index> shape) {
  std::string text = "[";
  for (const Index n : shape) text.append(text.size() > 1 ? ", " : "").append(std::to_string(n));
  return text + "]";
}

/// An open checkpoint. The files are mapped, not read: opening takes the time and memory of the
/// headers alone. Tensors and views point into the maps and live as long as this object does, also
/// when it is moved. Const, and may be read by many threads.
class SafeTensors {
 public:
  /// `path`: a safetensors file, an index (*.json) of shards, or a folder with
  /// model.safetensors.index.json, model.safetensors or a single *.safetensors. Throws FileError
  /// naming file and tensor when anything is missing, damaged, or not as the format says; every
  /// header is checked whole.
  explicit SafeTensors(const std::filesystem::path& path) {
    detail::CheckpointFiles found = detail::find_files(path);
    index_ = std::move(found.index);
    files_ = std::move(found.files);
    for (std::size_t i = 0; i < files_.size(); ++i) add_file(i, found.weight_map);
    by_name_.resize(tensors_.size());
    for (std::size_t i = 0; i < tensors_.size(); ++i) by_name_[i] = i;
    std::sort(by_name_.begin(), by_name_.end(),
              [&](std::size_t a, std::size_t b) { return tensors_[a].name < tensors_[b].name; });
    for (const auto& [name, place] : found.weight_map) {
      if (find(name) == nullptr) {
        detail::fail_file(index_, "tensor ", detail::in_quotes(name), " should be in ",
                          files_[place].string(), ", which does not have it");
      }
    }
  }

  /// All tensors, file by file and in their order there. With an index, those it lists.
  std::span<const TensorInfo> tensors() const { return tensors_; }
  std::span<const std::filesystem::path> files() const { return files_; }
  /// The free texts of the files; the first file to have a key wins.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// nullptr when there is none of that name.
  const TensorInfo* find(std::string_view name) const {
    const auto at =
        std::lower_bound(by_name_.begin(), by_name_.end(), name,
                         [&](std::size_t i, std::string_view n) { return tensors_[i].name < n; });
    return at != by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
  }
  bool contains(std::string_view name) const { return find(name) != nullptr; }

  /// Throws FileError when there is none of that name.
  const TensorInfo& at(std::string_view name) const {
    const TensorInfo* tensor = find(name);
    if (tensor == nullptr) {
      detail::fail_file(index_.empty() ? files_.front() : index_, "has no tensor ",
                        detail::in_quotes(name));
    }
    return *tensor;
  }
  /// Throws FileError also when it has another shape.
  const TensorInfo& at(std::string_view name, std::span<const Index> shape) const {
    const TensorInfo& tensor = at(name);
    if (!std::ranges::equal(tensor.shape, shape)) {
      fail(tensor, "is ", shape_text(tensor.shape), ", expected ", shape_text(shape));
    }
    return tensor;
  }
  const TensorInfo& at(std::string_view name, std::initializer_list<Index> shape) const {
    return at(name, std::span<const Index>(shape.begin(), shape.size()));
  }

  /// Can the file's own memory serve as a matrix of T? The dtype must be T's, the place aligned.
  template <class T>
  static bool viewable(const TensorInfo& tensor) {
    static_assert(!std::is_same_v<T, bool>,
                  "moe::SafeTensors: read BOOL through TensorInfo::bytes");
    return tensor.dtype == dtype_of<T>() &&
           reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignof(T) == 0;
  }

  /// The tensor [rows, cols] without a copy. Throws FileError unless viewable<T>.
  template <class T>
  static MatrixView<const T> view(const TensorInfo& tensor) {
    if (tensor.dtype != dtype_of<T>()) {
      fail(tensor, "is ", dtype_name(tensor.dtype), ", a view needs ", dtype_name(dtype_of<T>()));
    }
    if (!viewable<T>(tensor))
      fail(tensor, "is not aligned for a view, expected a multiple of ", alignof(T));
    return {reinterpret_cast<const T*>(tensor.bytes.data()), tensor.rows(), tensor.cols()};
  }
  template <class T>
  MatrixView<const T> view(std::string_view name) const {
    return view<T>(at(name));
  }

  /// The whole tensor [rows, cols], converted to T. Throws FileError when the shape differs or the
  /// dtype does not convert (see `converts`), before anything is written; when an integer does not
  /// fit, `out` is written in part.
  template <class T>
  static void read(const TensorInfo& tensor, MatrixView<T> out) {
    if (out.rows() != tensor.rows() || out.cols() != tensor.cols()) {
      fail(tensor, "is ", shape_text(tensor.shape), ", expected [", out.rows(), ", ", out.cols(),
           "]");
    }
    read_block(tensor, 0, 0, out);
  }
  template <class T>
  void read(std::string_view name, MatrixView<T> out) const {
    read(at(name), out);
  }

  /// A part of the tensor, as large as `out`, from (first_row, first_col) on. Throws as read, and
  /// when the part is not inside.
  template <class T>
  static void read_block(const TensorInfo& tensor, Index first_row, Index first_col,
                         MatrixView<T> out) {
    check_block(tensor, first_row, first_col, out.rows(), out.cols());
    if (!converts<T>(tensor.dtype)) {
      fail(tensor, "is ", dtype_name(tensor.dtype), ", which does not convert to ",
           dtype_name(dtype_of<T>()));
    }
    const std::size_t element = dtype_size(tensor.dtype);
    const auto bytes = [&](Index values) { return static_cast<std::size_t>(values) * element; };
    for (Index r = 0; r < out.rows(); ++r) {
      const Index from = (first_row + r) * tensor.cols() + first_col;
      if (!detail::convert<T>(tensor.dtype, tensor.bytes.subspan(bytes(from), bytes(out.cols())),
                              out.row(r))) {
        fail(tensor, "has an integer in row ", first_row + r, " that ", dtype_name(dtype_of<T>()),
             " cannot hold");
      }
    }
  }

  /// Gives the memory that reading this tensor has taken back to the system. Loaders of large
  /// checkpoints call it tensor by tensor: pages of a map count as the program's memory.
  void release(const TensorInfo& tensor) const {
    maps_[static_cast<std::size_t>(tensor.file - files_.data())].release(tensor.bytes);
  }

  /// Throws FileError("<file>: tensor '<name>' <parts joined>").
  template <class... Parts>
  [[noreturn]] static void fail(const TensorInfo& tensor, const Parts&... parts) {
    detail::fail_file(*tensor.file, "tensor ", detail::in_quotes(tensor.name), " ", parts...);
  }

 private:
  void add_file(std::size_t i, const std::map<std::string, std::size_t>& weight_map) {
    const MappedFile& map = maps_.emplace_back(files_[i]);
    detail::Header header = detail::read_header(files_[i], map.bytes());
    const auto data = map.bytes().subspan(header.data);
    for (detail::HeaderTensor& t : header.tensors) {
      if (!index_.empty()) {
        const auto listed = weight_map.find(t.name);
        if (listed == weight_map.end() || listed->second != i) continue;
      }
      tensors_.push_back({std::move(t.name), t.dtype, std::move(t.shape),
                          data.subspan(t.begin, t.end - t.begin), &files_[i]});
    }
    metadata_.merge(header.metadata);
  }

  static void check_block(const TensorInfo& tensor, Index first_row, Index first_col, Index rows,
                          Index cols) {
    const auto inside = [](Index first, Index count, Index size) {
      return first >= 0 && count >= 0 && first <= size && count <= size - first;
    };
    if (!inside(first_row, rows, tensor.rows()) || !inside(first_col, cols, tensor.cols())) {
      fail(tensor, "is ", shape_text(tensor.shape), ", asked for [", rows, ", ", cols, "] from [",
           first_row, ", ", first_col, "] on");
    }
  }

  std::filesystem::path index_;  // empty without shards
  std::vector<std::filesystem::path> files_;
  std::vector<MappedFile> maps_;  // of files_
  std::vector<TensorInfo> tensors_;
  std::vector<std::size_t> by_name_;  // tensors_ sorted by name
  std::map<std::string, std::string> metadata_;
};

MOE_NAMESPACE_END
