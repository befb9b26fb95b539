// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a run of train_text can be told, and which text it reads when told nothing.
#pragma once

#include "arguments.hpp"

namespace text {

struct Settings {
  long long steps = 1000, batch = 512, window = 12, seed = 1, threads = 0;
  long long experts = 8, top_k = 2, hidden = 64, dim = 128, embedding = 24;
  double lr = 6e-3, balance = 1e-2;
  std::string svg = "train_text.svg", save, resume;
  bool dense = true, help = false;
  std::vector<std::string> paths;
};

inline void check_settings(const Settings& s) {
  if (s.top_k > s.experts) {
    throw UsageError(format("--top-k is %lld, expected at most the number of experts, %lld",
                            s.top_k, s.experts));
  }
  namespace fs = std::filesystem;
  const auto check_file = [](const std::string& option, const std::string& file) {
    const fs::path folder = fs::path(file).parent_path();
    if (fs::is_directory(file) || (!folder.empty() && !fs::is_directory(folder))) {
      throw UsageError(option + " is '" + file + "', expected a file in a folder that exists");
    }
  };
  check_file("--svg", s.svg);
  check_file("--save", s.save);
}

/// Reads the command line; prints the help when asked. Throws UsageError.
inline Settings read_settings(int count, char** arguments) {
  Settings s;
  const Option options[] = {
      {"--steps", "training steps", &s.steps, 1, 1e8},
      {"--batch", "windows per step", &s.batch, 1, 1 << 20},
      {"--window", "previous bytes that the model sees", &s.window, 1, 256},
      {"--experts", "experts, E", &s.experts, 1, 4096},
      {"--top-k", "experts per byte, K", &s.top_k, 1, 4096},
      {"--hidden", "hidden width of an expert, H", &s.hidden, 1, 1 << 16},
      {"--dim", "model width, D", &s.dim, 1, 1 << 16},
      {"--embedding", "values per byte of the window", &s.embedding, 1, 4096},
      {"--lr", "peak learning rate", &s.lr, 1e-9, 10},
      {"--balance", "coefficient of the balance loss", &s.balance, 0, 100},
      {"--seed", "of all randomness", &s.seed, 0, 9e15},
      {"--threads", "0: one per core; changes speed, never a result", &s.threads, 0, 1024},
      {"--svg", "file for the drawing", &s.svg},
      {"--save", "file for the trained models, at the end or at Ctrl-C", &s.save},
      {"--resume", "file of --save: goes on with the same bits, given the same options", &s.resume},
      {"--no-dense", "train the MoE model alone", &s.dense},
      {"--help", "show this", &s.help},
  };
  const std::string list = describe(options);
  s.paths = parse_arguments(options, count, arguments);
  if (s.help) {
    std::printf(
        "usage: train_text [options] [files or folders]\n\nTrains a byte-level language model with "
        "a mixture of experts, and a dense twin, on text.\nWithout files or folders: on this "
        "project's own headers and documents.\n\n%s",
        list.c_str());
  } else {
    check_settings(s);
  }
  return s;
}

/// The project's own text below `root`, from where the program was built.
inline std::vector<std::string> own_text(const std::string& root) {
  std::vector<std::string> found;
  for (const char* part : {"include", "examples", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"}) {
    std::string path = root + "/" + part;
    if (std::filesystem::exists(path)) found.push_back(std::move(path));
  }
  if (found.empty()) {
    throw UsageError("this project's sources are no longer in '" + root +
                     "'; name files or folders to train on");
  }
  return found;
}

/// The paths given, or the project's own text. Throws UsageError when there is neither.
inline std::vector<std::string> corpus_paths(const Settings& s) {
  if (!s.paths.empty()) return s.paths;
#ifdef MOE_SOURCE_DIR
  return own_text(MOE_SOURCE_DIR);
#else
  throw UsageError("built without MOE_SOURCE_DIR, so name files or folders to train on");
#endif
}

}  // namespace text
