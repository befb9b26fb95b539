// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Files and folders -> one string of bytes, each file's end marked by a NUL.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace text {

/// A sentence for the user; the program ends with exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Bytes of text files. No text holds a NUL, so one after each file says where the next begins.
struct Library {
  std::vector<std::uint8_t> bytes;
  std::size_t files = 0;
  std::size_t skipped = 0;  ///< binary, empty or unreadable files inside folders
  bool truncated = false;   ///< stopped at the size limit
};

namespace detail {

namespace fs = std::filesystem;

/// Appends the file; what is wrong with it, or an empty string. Stops at `limit` bytes in all.
inline std::string append_file(const fs::path& path, std::size_t limit, Library& library) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return "cannot be read";
  const std::size_t before = library.bytes.size();
  char chunk[1 << 16];
  while (file.read(chunk, sizeof chunk), file.gcount() > 0) {
    library.bytes.insert(library.bytes.end(), chunk, chunk + file.gcount());
    const auto fresh = library.bytes.end() - file.gcount();
    if (std::find(fresh, library.bytes.end(), 0) != library.bytes.end()) {
      library.bytes.resize(before);
      return "is not text (it holds NUL bytes)";
    }
    if (library.bytes.size() >= limit) {
      library.bytes.resize(limit);
      library.truncated = true;
      break;
    }
  }
  if (file.bad()) return "cannot be read";
  if (library.bytes.size() == before) return "is empty";
  library.bytes.push_back(0);
  ++library.files;
  return "";
}

inline bool is_hidden(const fs::path& path) { return path.filename().string().front() == '.'; }

/// Every file below the folder, hidden ones left out, sorted: folders list theirs in any order.
inline std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error);
  if (error) throw UsageError(folder.string() + " cannot be read: " + error.message());
  while (it != fs::recursive_directory_iterator()) {
    const bool hidden = is_hidden(it->path());
    if (hidden && it->is_directory(error)) it.disable_recursion_pending();
    if (!hidden && it->is_regular_file(error)) files.push_back(it->path());
    it.increment(error);
    if (error) throw UsageError(folder.string() + " cannot be read: " + error.message());
  }
  std::sort(files.begin(), files.end());
  return files;
}

inline void append_folder(const fs::path& folder, std::size_t limit, Library& library) {
  const std::size_t before = library.files;
  for (const fs::path& file : files_below(folder)) {
    if (library.truncated) break;
    if (!append_file(file, limit, library).empty()) ++library.skipped;
  }
  if (library.files == before && !library.truncated) {
    throw UsageError(folder.string() + " holds no text files");
  }
}

}  // namespace detail

/// Reads the paths in order, folders with everything below them. Binary files inside folders are
/// skipped. Throws UsageError on a path that is missing, unreadable or has no text in it.
inline Library read_text(const std::vector<std::string>& paths, std::size_t limit) {
  namespace fs = std::filesystem;
  Library library;
  for (const std::string& path : paths) {
    if (library.truncated) break;
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) {
      throw UsageError("'" + path + "' does not exist or cannot be reached");
    }
    if (fs::is_directory(status)) {
      detail::append_folder(path, limit, library);
    } else if (!fs::is_regular_file(status)) {
      throw UsageError("'" + path + "' is neither a file nor a folder");
    } else if (const std::string wrong = detail::append_file(path, limit, library);
               !wrong.empty()) {
      throw UsageError("'" + path + "' " + wrong);
    }
  }
  return library;
}

}  // namespace text
