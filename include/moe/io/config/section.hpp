// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Where reading a saved layer stands: an object of its configuration, and the tensors that belong to
// it. Files are hostile: nothing is allocated before the file is seen to hold as much.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "moe/core/parameter.hpp"
#include "moe/core/types.hpp"
#include "moe/io/config/fields.hpp"
#include "moe/io/safetensors.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

class Section {
 public:
  /// `where` names the object in messages; names of tensors begin with `prefix`.
  Section(const SafeTensors& file, std::string where, std::string prefix, const Json& object)
      : Section(file, std::move(where), std::move(prefix), object, {}, &own_limits_) {
    for (const TensorInfo& tensor : file.tensors()) own_limits_.values += tensor.size();
    own_limits_.parts = std::max(std::ssize(file.tensors()), Index{1} << 16);
  }
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

  /// Of the layer that this is a part of, as far as they are known.
  Dims dims;

  /// A field; one that an older library did not know keeps its value.
  template <class T>
  void read(std::string_view name, T& value) {
    reader_(name, value);
  }
  template <class O>
  O read_options() {
    O options{};
    if constexpr (HasFields<O>) options.visit(reader_);
    return options;
  }

  /// A size that must be there and not below 0. What it counts may be without weights, and its number
  /// then be anything: but not more than the file has values, or 2^16 if those are fewer.
  Index size(std::string_view name) {
    Index value = 0;
    reader_.take(name);
    reader_(name, value);
    if (value < 0) fail_file(path(), where_, ".", name, " is ", value, ", expected at least 0");
    check_size(name, value);
    return value;
  }
  void check_size(std::string_view name, Index value) const {
    if (value > std::max(limits_->values, Index{1} << 16)) {
      fail_file(path(), where_, ".", name, " is ", value, ", the file has ", limits_->values,
                " values");
    }
  }
  /// A size that counts parts, each of which takes memory, with weights or without: those of the whole
  /// file, whatever they are nested in, are not more than its tensors, or 2^16 if those are fewer.
  Index parts(std::string_view name) {
    const Index count = size(name);
    if (count > limits_->parts) {
      fail_file(path(), where_, ".", name, " is ", count, ", too many parts for a file of ",
                file_->tensors().size(), " tensors");
    }
    limits_->parts -= count;
    return count;
  }

  /// make<X>(the object under `name`), its tensors under `prefix` behind this one's.
  template <class X>
  X part(std::string_view name, std::string_view prefix) {
    return make<X>(reader_.take(name), name, prefix);
  }
  /// The same for element i of the array under `name`, of `count` or one for all.
  template <class X>
  X item(std::string_view name, Index i, Index count, std::string_view prefix) {
    const Json& list = reader_.take(name);
    if (!list.is_array() || (list.size() != 1 && std::ssize(list) != count)) {
      fail_file(path(), where_, ".", name, " is ", FieldReader::shown(list),
                ", expected a list of 1 or of ", count);
    }
    if (list.size() == 1) i = 0;
    return make<X>(list[static_cast<std::size_t>(i)], std::string(name) + "." + std::to_string(i),
                   prefix);
  }
  void skip(std::string_view name) { reader_.take(name); }

  bool has_tensor(std::string_view name) const {
    return file_->contains(prefix_ + std::string(name));
  }
  /// Throws FileError unless the file has this tensor, in this shape.
  void expect(std::string_view name, std::initializer_list<Index> shape) const {
    file_->at(prefix_ + std::string(name), shape);
  }
  /// A parameter of the shape that the file has; its value is still zero.
  template <class S>
  Parameter<S> parameter(std::string_view name, Index rows, Index cols) const {
    expect(name, {rows, cols});
    return Parameter<S>(rows, cols);
  }

  const std::filesystem::path& path() const { return file_->files().front(); }
  const std::string& where() const { return where_; }
  /// Throws FileError when the object has more than was asked for.
  void finish() const { reader_.finish(); }

 private:
  struct Limits {
    Index values = 0;  ///< of all tensors
    Index parts = 0;   ///< that may still be counted
  };

  Section(const SafeTensors& file, std::string where, std::string prefix, const Json& object,
          const Dims& around, Limits* limits)
      : dims(around),
        file_(&file),
        limits_(limits),
        where_(std::move(where)),
        prefix_(std::move(prefix)),
        reader_(file.files().front(), where_, object) {}

  template <class X>
  X make(const Json& object, std::string_view name, std::string_view prefix) const;

  const SafeTensors* file_;
  Limits own_limits_;  ///< of the outermost, for all inside
  Limits* limits_;
  std::string where_, prefix_;
  FieldReader reader_;
};

}  // namespace detail
MOE_NAMESPACE_END
