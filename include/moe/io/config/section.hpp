// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Where reading a saved layer stands: an object of its configuration, and the tensors that belong to
// it. Files are hostile: nothing is allocated before the file is seen to hold as much.
#pragma once

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
      : Section(file, std::move(where), std::move(prefix), object, {}, values_in(file)) {}
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
    if (value > std::max(values_, Index{1} << 16)) {
      fail_file(path(), where_, ".", name, " is ", value, ", the file has ", values_, " values");
    }
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
  Section(const SafeTensors& file, std::string where, std::string prefix, const Json& object,
          const Dims& around, Index values)
      : dims(around),
        file_(&file),
        values_(values),
        where_(std::move(where)),
        prefix_(std::move(prefix)),
        reader_(file.files().front(), where_, object) {}

  static Index values_in(const SafeTensors& file) {
    Index sum = 0;
    for (const TensorInfo& tensor : file.tensors()) sum += tensor.size();
    return sum;
  }

  template <class X>
  X make(const Json& object, std::string_view name, std::string_view prefix) const;

  const SafeTensors* file_;
  Index values_;  ///< of all its tensors
  std::string where_, prefix_;
  FieldReader reader_;
};

}  // namespace detail
MOE_NAMESPACE_END
