// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A file's bytes as memory, read by the system as they are touched.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "moe/io/file_error.hpp"

#if !__has_include(<sys/mman.h>)
#error "moe/io needs a POSIX system (mmap)"
#endif
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

MOE_NAMESPACE_BEGIN

namespace detail {

/// Closes a file descriptor when it goes.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace detail

/// A read-only map of a whole regular file. Opening costs nothing per byte, whatever the size. Who
/// truncates the file while it is mapped takes the memory away (SIGBUS); replacing it by rename, as
/// SafeTensorsWriter does, is safe.
class MappedFile {
 public:
  MappedFile() = default;

  /// Throws FileError when the path is not a readable regular file.
  explicit MappedFile(const std::filesystem::path& path) {
    // Without O_NONBLOCK a named pipe would make open wait for a writer.
    const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) detail::fail_system(path, "open the file", errno);
    struct stat status = {};
    if (::fstat(file.get(), &status) != 0) detail::fail_system(path, "ask for the size", errno);
    if (S_ISDIR(status.st_mode)) detail::fail_file(path, "is a directory, expected a file");
    if (!S_ISREG(status.st_mode)) detail::fail_file(path, "is not a regular file");
    size_ = static_cast<std::size_t>(status.st_size);
    if (size_ == 0) return;  // nothing to map
    void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (memory == MAP_FAILED) detail::fail_system(path, "map the file", errno);
    data_ = static_cast<const std::byte*>(memory);
  }

  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  }

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  /// Gives the memory of the whole pages inside `part` back to the system; they are read again when
  /// touched again.
  void release(std::span<const std::byte> part) const {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto offset = static_cast<std::size_t>(part.data() - data_);
    const std::size_t first = (offset + page - 1) / page * page;
    const std::size_t last = (offset + part.size()) / page * page;
    if (part.empty() || first >= last) return;
    // Only a hint: what it fails to do costs memory, not correctness.
    static_cast<void>(
        ::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED));
  }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

MOE_NAMESPACE_END
