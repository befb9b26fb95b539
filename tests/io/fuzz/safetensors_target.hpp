// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What the fuzzer and its corpus are run through: any bytes as a safetensors file and as an index.
#pragma once

#include <cstdlib>
#include <memory>

#include "moe/io/safetensors.hpp"

namespace moe_test {

/// Reads the whole tensor as T, and its last row. A view must hold what was read.
template <class T>
void read_all(const moe::TensorInfo& tensor) {
  constexpr moe::Index kMost = 1 << 16;
  if (tensor.size() == 0 || tensor.size() > kMost) return;
  moe::Matrix<T> values(tensor.rows(), tensor.cols()), row(1, tensor.cols());
  const bool viewable = moe::SafeTensors::viewable<T>(tensor);
  try {
    moe::SafeTensors::read<T>(tensor, values);
    moe::SafeTensors::read_block<T>(tensor, tensor.rows() - 1, 0, row);
  } catch (const moe::FileError&) {  // the dtype does not convert, or an integer does not fit
    if (viewable) std::abort();
  }
  if (viewable) {
    const auto view = moe::SafeTensors::view<T>(tensor);
    if (std::memcmp(view.data(), values.data(), tensor.bytes.size()) != 0) std::abort();
  }
}

/// Every tensor of a file of these bytes. Only FileError may come out, and what is accepted must be
/// consistent: the tensors are the file's bytes after the header, each once.
inline void run_as_file(std::span<const std::byte> bytes) {
  const std::filesystem::path path = "fuzz.safetensors";
  try {
    const moe::detail::Header header = moe::detail::read_header(path, bytes);
    std::size_t total = header.data;
    for (const auto& t : header.tensors) {
      const moe::TensorInfo tensor{t.name, t.dtype, t.shape,
                                   bytes.subspan(header.data).subspan(t.begin, t.end - t.begin),
                                   &path};
      total += tensor.bytes.size();
      if (static_cast<std::size_t>(tensor.size()) * moe::dtype_size(t.dtype) != t.end - t.begin) {
        std::abort();
      }
      read_all<float>(tensor);
      read_all<double>(tensor);
      read_all<std::int32_t>(tensor);
      read_all<std::uint8_t>(tensor);
      read_all<std::int64_t>(tensor);
    }
    if (total != bytes.size()) std::abort();
  } catch (const moe::FileError&) {
  }
}

inline void run_as_index(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  try {
    const auto found =
        moe::detail::index_files(moe::parse_json(text, "folder/index.json"), "folder/index.json");
    for (const auto& file : found.files) {
      const std::string normal = file.lexically_normal().string();
      if (!normal.starts_with("folder/") || normal.find("..") == 0) std::abort();
    }
  } catch (const moe::FileError&) {
  }
}

/// The bytes are copied to memory of exactly their size, so that the sanitizer sees a step outside.
inline void run_safetensors_target(const std::uint8_t* data, std::size_t size) {
  const auto copy = std::make_unique<std::byte[]>(size);
  if (size != 0) std::memcpy(copy.get(), data, size);
  const std::span<const std::byte> bytes(copy.get(), size);
  run_as_file(bytes);
  run_as_index(bytes);

  // Again with a header length that fits: a mutation of the header seldom keeps it.
  constexpr std::size_t kLengthBytes = 8;
  for (std::size_t end = size; end > kLengthBytes; --end) {
    if (copy[end - 1] != std::byte{'}'}) continue;
    const std::uint64_t length = end - kLengthBytes;
    std::memcpy(copy.get(), &length, sizeof(length));
    return run_as_file(bytes);
  }
}

}  // namespace moe_test
