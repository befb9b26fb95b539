// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Which files a checkpoint consists of: one file, or the shards that its index names.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include "moe/io/json.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// The safetensors files of a checkpoint. Without an index every tensor of the one file counts.
struct CheckpointFiles {
  std::filesystem::path index;                    ///< empty when there is none
  std::vector<std::filesystem::path> files;       ///< each once
  std::map<std::string, std::size_t> weight_map;  ///< tensor -> its place in files
};

/// A shard's name in an index: relative, and not upwards. Links are followed, as the caches that
/// models are downloaded to consist of links out of their folders.
inline bool inside_folder(const std::filesystem::path& shard) {
  if (shard.empty() || shard.is_absolute() || !shard.has_filename()) return false;
  return std::none_of(shard.begin(), shard.end(), [](const auto& part) { return part == ".."; });
}

/// {"weight_map": {tensor: file}}, other keys left alone. `path` is where `index` was read.
inline CheckpointFiles index_files(const Json& index, const std::filesystem::path& path) {
  CheckpointFiles found;
  found.index = path;
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object()) {
    fail_file(path, "has no object 'weight_map', expected an index of shards");
  }
  if (map->empty()) fail_file(path, "'weight_map' names no tensor");
  std::map<std::string, std::size_t> places;
  for (const auto& [tensor, value] : map->items()) {
    const auto* file = value.get_ptr<const std::string*>();
    if (file == nullptr) fail_file(path, "tensor ", in_quotes(tensor), ": its file is not a text");
    if (!inside_folder(*file) || file->find('\0') != file->npos) {
      fail_file(path, "tensor ", in_quotes(tensor), ": its file is ", in_quotes(*file),
                ", expected a file inside the index's folder");
    }
    const auto place = places.emplace(*file, found.files.size());
    if (place.second) found.files.push_back(path.parent_path() / *file);
    found.weight_map.emplace(tensor, place.first->second);
  }
  return found;
}

inline CheckpointFiles read_index(const std::filesystem::path& path) {
  return index_files(read_json(path), path);
}

/// What a folder holds: its index if there is one, else model.safetensors, else its only safetensors
/// file.
inline CheckpointFiles find_in_folder(const std::filesystem::path& folder) {
  std::error_code error;
  const auto there = [&](const std::filesystem::path& p) {
    return std::filesystem::exists(p, error);
  };
  const auto index = folder / "model.safetensors.index.json";
  if (there(index)) return read_index(index);
  if (there(folder / "model.safetensors")) return {{}, {folder / "model.safetensors"}, {}};
  std::vector<std::filesystem::path> files;
  const std::filesystem::directory_iterator entries(folder, error);
  if (error) fail_file(folder, "cannot list the folder: ", error.message());
  for (const auto& entry : entries) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  if (files.size() != 1) {
    fail_file(folder, "holds ", files.size(), " files *.safetensors and no ",
              index.filename().string(), ", expected that index, model.safetensors, or one file");
  }
  return {{}, files, {}};
}

/// `path` is a safetensors file, an index (*.json), or a folder.
inline CheckpointFiles find_files(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return find_in_folder(path);
  if (path.extension() == ".json") return read_index(path);
  return {{}, {path}, {}};
}

}  // namespace detail
MOE_NAMESPACE_END
