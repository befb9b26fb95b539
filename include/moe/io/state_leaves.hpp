// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Values in memory <-> tensors of a file: what saving lists, and what loading checks, then writes.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "moe/core/parameter.hpp"
#include "moe/core/state.hpp"
#include "moe/io/safetensors.hpp"
#include "moe/io/safetensors_writer.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

template <class V>
struct AsAnySize : std::false_type {};
template <class T>
struct AsAnySize<AnySize<T>> : std::true_type {};

/// Numbers, vectors and arrays alike: pointer, count and shape.
template <class T>
struct LeafValues {
  using Number = T;
  T* data;
  std::vector<Index> shape;
  std::size_t count() const {
    std::size_t n = 1;
    for (const Index d : shape) n *= static_cast<std::size_t>(d);
    return n;
  }
};
template <class V>
auto leaf_values(V& value) {
  if constexpr (std::is_arithmetic_v<V>) {
    return LeafValues<V>{&value, {}};
  } else {
    using T = std::remove_reference_t<decltype(*value.data())>;
    static_assert(std::is_arithmetic_v<T>, "moe: state is numbers, or arrays or vectors of them");
    return LeafValues<T>{value.data(), {static_cast<Index>(value.size())}};
  }
}

/// What will be written: specs and the bytes, which stay where they are.
class SaveList {
 public:
  void add(std::string name, Dtype dtype, std::vector<Index> shape, const void* data) {
    specs_.push_back({std::move(name), dtype, std::move(shape)});
    data_.push_back(static_cast<const std::byte*>(data));
  }
  template <class S>
  void add(std::string name, const Matrix<S>& values) {
    add(std::move(name), dtype_of<S>(), {values.rows(), values.cols()}, values.data());
  }
  template <class V>
  void add_state(std::string name, V& value) {
    const auto values = leaf_values(value);
    using T = typename decltype(values)::Number;
    add(std::move(name), dtype_of<std::remove_const_t<T>>(), values.shape, values.data);
  }
  template <class T>
  void add_state(std::string name, AnySize<T>& value) {
    add_state(std::move(name), value.values);
  }

  void write(const std::filesystem::path& path,
             const std::map<std::string, std::string>& metadata) const {
    SafeTensorsWriter writer(path, specs_, metadata);
    for (std::size_t i = 0; i < specs_.size(); ++i) {
      std::size_t bytes = dtype_size(specs_[i].dtype);
      for (const Index n : specs_[i].shape) bytes *= static_cast<std::size_t>(n);
      writer.write(specs_[i].name, {data_[i], bytes});
    }
    writer.finish();
  }

 private:
  std::vector<TensorSpec> specs_;
  std::vector<const std::byte*> data_;
};

/// Everything is looked up and checked while it is added; commit() then writes, and cannot fail.
class LoadList {
 public:
  explicit LoadList(const SafeTensors& file) : file_(file) {}
  const SafeTensors& file() const { return file_; }

  /// The tensor, of this dtype; throws FileError with what was found and expected.
  const TensorInfo& take(const std::string& name, Dtype dtype) {
    const TensorInfo& tensor = file_.at(name);
    if (tensor.dtype != dtype) {
      SafeTensors::fail(tensor, "is ", dtype_name(tensor.dtype), " ", shape_text(tensor.shape),
                        ", expected ", dtype_name(dtype));
    }
    taken_.insert(&tensor);
    return tensor;
  }
  const TensorInfo& take(const std::string& name, Dtype dtype, std::span<const Index> shape) {
    const TensorInfo& tensor = take(name, dtype);
    return file_.at(tensor.name, shape);
  }

  void on_commit(std::function<void()> action) { commits_.push_back(std::move(action)); }

  template <class S>
  void add(const std::string& name, Matrix<S>& values) {
    const Index shape[] = {values.rows(), values.cols()};
    const TensorInfo& tensor = take(name, dtype_of<S>(), shape);
    on_commit([this, &tensor, &values] {
      if (!tensor.bytes.empty())
        std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
      file_.release(tensor);
    });
  }

  template <class V, class... Check>
  void add_state(const std::string& name, V& value, Check&&... check) {
    const auto values = leaf_values(value);
    using T = typename decltype(values)::Number;
    const TensorInfo& tensor = take(name, dtype_of<T>(), values.shape);
    stage<T>(tensor, values.count(), check...);
    on_commit([&tensor, values] {
      if (!tensor.bytes.empty()) std::memcpy(values.data, tensor.bytes.data(), tensor.bytes.size());
    });
  }
  template <class T, class... Check>
  void add_state(const std::string& name, AnySize<T>& value, Check&&... check) {
    const TensorInfo& tensor = take(name, dtype_of<T>());
    if (tensor.shape.size() != 1)
      SafeTensors::fail(tensor, "is ", shape_text(tensor.shape), ", expected [n]");
    auto loaded = stage<T>(tensor, static_cast<std::size_t>(tensor.size()), check...);
    on_commit([&values = value.values, loaded = std::move(loaded)]() mutable {
      values = std::move(loaded);
    });
  }

  /// Throws FileError when the file has more under this name than was added.
  void check_all_taken(const std::string& part) const {
    for (const TensorInfo& tensor : file_.tensors()) {
      if ((tensor.name == part || tensor.name.starts_with(part + ".")) &&
          !taken_.contains(&tensor)) {
        SafeTensors::fail(tensor, shape_text(tensor.shape), " has no place in ", in_quotes(part));
      }
    }
  }

  void commit() {
    for (auto& action : commits_) action();
  }

 private:
  /// The values, checked: truth values must be 0 or 1, and the part may have more to say.
  template <class T, class... Check>
  static auto stage(const TensorInfo& tensor, std::size_t count, Check&... check) {
    using Stored = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>;
    std::vector<Stored> loaded(count);
    if (count != 0) std::memcpy(loaded.data(), tensor.bytes.data(), tensor.bytes.size());
    if constexpr (std::is_same_v<T, bool>) {
      for (const Stored v : loaded) {
        if (v > 1) SafeTensors::fail(tensor, "holds ", int{v}, ", expected 0 or 1");
      }
    }
    try {
      (check(std::span<const Stored>(loaded)), ...);
    } catch (const std::invalid_argument& error) {
      SafeTensors::fail(tensor, "cannot be taken: ", error.what());
    }
    return loaded;
  }

  const SafeTensors& file_;
  std::set<const TensorInfo*> taken_;
  std::vector<std::function<void()>> commits_;
};

}  // namespace detail
MOE_NAMESPACE_END
