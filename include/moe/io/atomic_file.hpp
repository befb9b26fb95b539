// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A file that appears whole or not at all.
#pragma once

#include <atomic>
#include <string>

#include "moe/io/mapped_file.hpp"

MOE_NAMESPACE_BEGIN

/// Writes beside `path` under a temporary name; commit() puts it on the disk and renames it. Until
/// then, and whatever happens (full disk, exception, kill, power), a file that was at `path` stays
/// as it was. Without commit() the temporary file is removed; after a kill it stays, as
/// "<path>.<process>-<n>.tmp".
class AtomicFile {
 public:
  AtomicFile() = default;

  /// Throws FileError when the folder cannot be written to, or `path` is there and not a regular
  /// file. A link is followed: the file it names is replaced, or made where there is none.
  explicit AtomicFile(const std::filesystem::path& path) : path_(path) {
    if (!path_.has_filename()) detail::fail_file(path_, "names no file");
    follow_links();
    struct stat old = {};
    const bool exists = ::stat(path_.c_str(), &old) == 0;
    if (exists && S_ISDIR(old.st_mode)) detail::fail_file(path_, "is a directory, expected a file");
    if (exists && !S_ISREG(old.st_mode)) detail::fail_file(path_, "is not a regular file");
    open_temporary();
    if (exists) static_cast<void>(::fchmod(file_.get(), old.st_mode & 07777));
  }

  AtomicFile(AtomicFile&& other) noexcept { *this = std::move(other); }
  AtomicFile& operator=(AtomicFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(temporary_, other.temporary_);
    std::swap(file_, other.file_);
    return *this;
  }
  ~AtomicFile() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  const std::filesystem::path& path() const { return path_; }

  /// Throws FileError when the disk is full or the write fails otherwise.
  void write(std::size_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto n =
          ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<::off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) detail::fail_system(path_, "write the file", n < 0 ? errno : ENOSPC);
      offset += static_cast<std::size_t>(n);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }

  /// Contents first, then the name: throws FileError when either cannot be made to last, with what
  /// was at `path` still there.
  void commit() {
    if (::fsync(file_.get()) != 0) detail::fail_system(path_, "write the file", errno);
    // Network file systems report a full disk here.
    if (::close(file_.release()) != 0) detail::fail_system(path_, "write the file", errno);
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
      detail::fail_system(path_, "replace the file", errno);
    }
    temporary_.clear();
    // Some file systems refuse to sync a folder; the rename has happened all the same.
    const detail::Descriptor folder(::open(folder_of(path_).c_str(), O_RDONLY | O_CLOEXEC));
    if (folder.get() >= 0) static_cast<void>(::fsync(folder.get()));
  }

 private:
  static std::filesystem::path folder_of(const std::filesystem::path& path) {
    return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  }

  /// Also to a file that is not there yet, where weakly_canonical() would stop at the link.
  void follow_links() {
    constexpr int kMostLinks = 40;  // as Linux
    const std::filesystem::path link = path_;
    std::error_code error;
    for (int n = 0; std::filesystem::is_symlink(path_, error); ++n) {
      if (n == kMostLinks) error = std::make_error_code(std::errc::too_many_symbolic_link_levels);
      const auto target = error ? path_ : std::filesystem::read_symlink(path_, error);
      if (error) detail::fail_file(link, "cannot follow the link: ", error.message());
      path_ = path_.parent_path() / target;  // an absolute target stands alone
    }
  }

  void open_temporary() {
    static std::atomic<std::uint64_t> counter{0};
    int fd = -1;
    do {  // a name is taken when an earlier process of this number was killed
      temporary_ = path_;
      std::string ending(".");  // appended to: GCC 12 warns of what "." + std::string inlines to
      ending.append(std::to_string(::getpid())).append("-");
      temporary_ += ending.append(std::to_string(counter++)).append(".tmp");
      fd = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EEXIST);
    if (fd < 0) {
      temporary_.clear();
      detail::fail_system(path_, "create the file", errno);
    }
    file_ = detail::Descriptor(fd);
  }

  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty once renamed
  detail::Descriptor file_;
};

MOE_NAMESPACE_END
