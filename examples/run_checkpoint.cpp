// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Looks into a published checkpoint, and runs one of its MoE layers on tokens from a file.
// Usage: run_checkpoint PATH --info, or run_checkpoint PATH --layer N --input in.safetensors
// --output out.safetensors; --help.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <moe/core/thread_pool.hpp>
#include <string>
#include <vector>

#include "checkpoint/info.hpp"
#include "checkpoint/saved.hpp"
#include "checkpoint/tokens.hpp"
#include "text/arguments.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using moe::Index;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Settings {
  std::string path, input, output, dtype = "f32", preset = "official";
  long long layer = -1, threads = 0;
  bool info = false, help = false;

  /// One file: a layer that this library saved.
  bool saved() const { return std::filesystem::is_regular_file(path); }
};

constexpr const char* kUsage =
    "usage: run_checkpoint PATH --info\n"
    "       run_checkpoint PATH --layer N --input FILE --output FILE [options]\n\n"
    "PATH: a folder with config.json and safetensors files, or a file with a layer that this "
    "library\n"
    "saved, which needs no --layer. The input holds x [T, D] F32, and may hold token_ids [T] I64; "
    "the\n"
    "output gets y [T, D], router_logits [T, E], expert_ids [T, K] I32, expert_weights [T, K] "
    "F32.\n\n";

Settings read_settings(int count, char** arguments) {
  Settings s;
  const std::vector<text::Option> options = {
      {"--info", "say what the checkpoint holds, layer by layer", &s.info},
      {"--layer", "the layer to run", &s.layer, 0, 1e9},
      {"--input", "safetensors file with x", &s.input},
      {"--output", "safetensors file to write", &s.output},
      {"--threads", "0: one for each hardware thread", &s.threads, 0, 4096},
      {"--dtype", "weights in memory: f32 or bf16", &s.dtype},
      {"--preset", "whose gate: official, hf, llama.cpp or megatron", &s.preset},
      {"--help", "show this", &s.help},
  };
  const std::string list = text::describe(options);
  const std::vector<std::string> paths = text::parse_arguments(options, count, arguments);
  if (s.help) std::printf("%s%s", kUsage, list.c_str());
  if (s.help) return s;
  if (paths.size() != 1) {
    throw text::UsageError(paths.empty() ? "no PATH given; --help shows how"
                                         : "'" + paths[1] + "' is a second PATH, expected one");
  }
  s.path = paths.front();
  const auto need = [](bool given, const char* what) {
    if (!given)
      throw text::UsageError(std::string("--info, or ") + what + " is expected; see --help");
  };
  if (s.info) return s;
  need(s.layer >= 0 || s.saved(), "--layer N");
  need(!s.input.empty(), "--input FILE");
  need(!s.output.empty(), "--output FILE");
  return s;
}

moe::presets::Variant variant_named(const std::string& name) {
  using moe::presets::Variant;
  if (name == "official") return Variant::official;
  if (name == "hf") return Variant::hf;
  if (name == "llama.cpp") return Variant::llama_cpp;
  if (name == "megatron") return Variant::megatron;
  throw text::UsageError("--preset is '" + name +
                         "', expected official, hf, llama.cpp or megatron");
}

moe::WeightType weights_named(const std::string& name) {
  if (name == "f32") return moe::WeightType::native;
  if (name == "bf16") return moe::WeightType::bfloat16;
  throw text::UsageError("--dtype is '" + name + "', expected f32 or bf16");
}

/// Once for the result, then again for about half a second: the best time counts.
template <class Layer>
void run_layer(const Layer& layer, const checkpoint::Input& input, const std::string& output,
               moe::ThreadPool& pool) {
  moe::Matrix<float> y(input.x.rows(), input.x.cols());
  typename Layer::Workspace workspace{pool};
  double best = 1e300, total = 0;
  for (int run = 0; run < 2 || (run < 1000 && total < 0.5); ++run) {
    const auto start = Clock::now();
    layer.forward(input.x, y, workspace, {.token_ids = input.token_ids});
    const double seconds = seconds_since(start);
    best = std::min(best, seconds);
    total += seconds;
  }
  checkpoint::write_output(output, y, workspace);
  checkpoint::print_loads(workspace);
  std::printf("%td tokens in %.3f ms, %.0f tokens/s with %td threads\n", y.rows(), 1e3 * best,
              static_cast<double>(y.rows()) / best, pool.size());
}

void show_progress(Index done, Index total) {
  if (::isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\rexpert %td of %td%s", done, total, done == total ? "\n" : "");
}

void run_saved(const Settings& s, moe::WeightType weights) {
  if (s.preset != "official") {
    throw text::UsageError("--preset is for published checkpoints; a saved layer has its own gate");
  }
  moe::ThreadPool pool(s.threads > 0 ? s.threads : moe::ThreadPool::hardware_threads());
  checkpoint::with_saved_layer(s.path, checkpoint::KnownLayers{}, [&](const auto& layer) {
    const checkpoint::Input input(s.input, layer.model_dim());
    run_layer(moe::pack(layer, weights, pool), input, s.output, pool);
  });
}

void run_published(const Settings& s, const moe::CheckpointOptions& given) {
  const moe::Checkpoint checkpoint(s.path);
  if (s.info) return checkpoint::print_info(checkpoint);
  const moe::LayerInfo info = checkpoint.describe(s.layer);
  const checkpoint::Input input(s.input, info.dims.model_dim);
  if (info.by_token_id) input.need_token_ids();
  moe::ThreadPool pool(s.threads > 0 ? s.threads : moe::ThreadPool::hardware_threads());
  const auto start = Clock::now();
  moe::CheckpointOptions options = given;
  options.executor = pool;
  options.progress = show_progress;
  const moe::CheckpointLayer layer = checkpoint.load_layer(s.layer, options);
  std::printf("%s, layer %lld: %s of packed weights read in %.1f s\n",
              std::string(checkpoint.family().name).c_str(), s.layer,
              checkpoint::size(static_cast<double>(layer.bytes())).c_str(), seconds_since(start));
  run_layer(layer, input, s.output, pool);
}

void run(const Settings& s) {
  const auto variant = variant_named(s.preset);
  const auto weights = weights_named(s.dtype);
  if (!s.saved()) return run_published(s, {.weights = weights, .variant = variant});
  if (s.info) return checkpoint::print_saved_info(s.path);
  run_saved(s, weights);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const Settings s = read_settings(count, arguments);
    if (!s.help) run(s);
  } catch (const text::UsageError& error) {
    std::fprintf(stderr, "run_checkpoint: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_checkpoint: %s\n", error.what());
    return 1;
  }
}
