// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A mixture of mixtures learns from text: a gate sends each byte to a group, the group's own gate to
// experts inside. Shows what groups and experts came to read, beside a flat layer of the same experts.
// Usage: hierarchical [options] [files or folders]; --help lists the options.
#include <moe/core/thread_pool.hpp>
#include <moe/moe.hpp>

#include "text/byte_use.hpp"
#include "text/settings.hpp"
#include "text/train_together.hpp"

namespace {

using moe::Index;
using Levels = moe::HierarchicalLayer<float>;  // groups are MoeLayers; linear routers, top-k gates
using Flat = moe::MoeLayer<float>;
using LevelsModel = text::ByteModel<text::Block<Levels>>;
using FlatModel = text::ByteModel<text::Block<Flat>>;

struct Settings {
  long long steps = 800, batch = 512, seed = 1, threads = 0;
  long long groups = 4, group_k = 1, experts = 4, top_k = 2, hidden = 64;
  bool help = false;
  std::vector<std::string> paths;
};

constexpr text::ModelDims kModel{.window = 12, .embedding = 24, .model = 128};

Settings read_settings(int count, char** arguments) {
  Settings s;
  const text::Option options[] = {
      {"--steps", "training steps", &s.steps, 1, 1e8},
      {"--batch", "windows per step", &s.batch, 1, 1 << 20},
      {"--groups", "groups", &s.groups, 1, 256},
      {"--group-k", "groups per byte", &s.group_k, 1, 256},
      {"--experts", "experts in each group", &s.experts, 1, 256},
      {"--top-k", "experts per byte in each of its groups", &s.top_k, 1, 256},
      {"--hidden", "hidden width of an expert", &s.hidden, 1, 1 << 16},
      {"--seed", "of all randomness", &s.seed, 0, 9e15},
      {"--threads", "0: one per core; changes speed, never a result", &s.threads, 0, 1024},
      {"--help", "show this", &s.help},
  };
  const std::string list = text::describe(options);
  s.paths = text::parse_arguments(options, count, arguments);
  if (s.top_k > s.experts) throw text::UsageError("--top-k must not be above --experts");
  if (s.group_k > s.groups) throw text::UsageError("--group-k must not be above --groups");
  if (s.help) std::printf("usage: hierarchical [options] [files or folders]\n\n%s", list.c_str());
  return s;
}

/// A byte goes to `group_k` groups and to `top_k` experts in each. Every level is kept balanced by a loss of its own.
LevelsModel make_levels(const Settings& s, moe::ExecutorRef threads) {
  const auto seed = static_cast<std::uint64_t>(s.seed);
  Levels layer({.model_dim = kModel.model,
                .num_groups = s.groups,
                .top_k = s.group_k,
                .group = {.hidden_dim = s.hidden, .num_experts = s.experts, .top_k = s.top_k}},
               seed);
  text::Block<Levels>::Options options;
  options.balancing = [](Levels&, Levels::Tape& tape) {
    tape.add_loss(moe::SwitchLoss{.coefficient = 1e-2});
    tape.add_loss(moe::RouterZLoss{.coefficient = 1e-3});
    tape.add_group_losses(moe::SwitchLoss{.coefficient = 1e-2});
    tape.add_group_losses(moe::RouterZLoss{.coefficient = 1e-3});
  };
  return {kModel, {std::move(layer), options, threads}, seed, threads};
}

/// The same experts under one gate.
FlatModel make_flat(const Settings& s, moe::ExecutorRef threads) {
  const auto seed = static_cast<std::uint64_t>(s.seed);
  Flat layer({.model_dim = kModel.model,
              .hidden_dim = s.hidden,
              .num_experts = s.groups * s.experts,
              .top_k = s.group_k * s.top_k},
             seed);
  return {kModel, {std::move(layer), {}, threads}, seed, threads};
}

/// What was read on each level over the validation text.
struct Reading {
  text::ByteUse groups;
  std::vector<text::ByteUse> experts;  ///< of each group

  /// Mean over the groups of what an expert tells beyond its group.
  double information_inside() const {
    double bits = 0;
    for (std::size_t g = 0; g < experts.size(); ++g) {
      if (groups.total(g) > 0) bits += groups.total(g) / groups.total() * experts[g].information();
    }
    return bits;
  }
};

Reading read(LevelsModel& model, const text::Corpus& corpus, Index batch_size) {
  const Levels& layer = model.block().layer();
  Reading found{text::ByteUse(layer.num_groups()), {}};
  for (Index g = 0; g < layer.num_groups(); ++g) {
    found.experts.emplace_back(layer.group(g).num_experts());
  }
  text::ByteBatch scratch;
  std::vector<std::int32_t> all;
  text::validate(model, corpus, batch_size, scratch, [&](const text::ByteBatch& seen) {
    const Levels::Workspace& last = model.block().inference();
    all.resize(static_cast<std::size_t>(seen.tokens()));
    std::iota(all.begin(), all.end(), 0);
    found.groups.add(last.routing, all, seen);
    for (Index g = 0; g < layer.num_groups(); ++g) {
      const auto first = static_cast<std::size_t>(last.plan.offset[static_cast<std::size_t>(g)]);
      const std::span<const std::int32_t> rows(last.plan.token);
      found.experts[static_cast<std::size_t>(g)].add(
          last.group(g).routing, rows.subspan(first, static_cast<std::size_t>(last.plan.load(g))),
          seen);
    }
  });
  return found;
}

text::ByteUse read(FlatModel& model, const text::Corpus& corpus, Index batch_size) {
  text::ByteUse found(model.block().layer().num_experts());
  text::ByteBatch scratch;
  std::vector<std::int32_t> all;
  text::validate(model, corpus, batch_size, scratch, [&](const text::ByteBatch& seen) {
    all.resize(static_cast<std::size_t>(seen.tokens()));
    std::iota(all.begin(), all.end(), 0);
    found.add(model.block().inference().routing, all, seen);
  });
  return found;
}

void print(const Reading& r) {
  std::printf(
      "\nWhat each group reads of all bytes, and each of its experts of the group's bytes:\n");
  for (std::size_t g = 0; g < r.groups.readers(); ++g) {
    std::printf("group %zu   %5.1f %%  %s\n", g, 100 * r.groups.total(g) / r.groups.total(),
                r.groups.marks(g, 14).c_str());
    const text::ByteUse& inside = r.experts[g];
    for (std::size_t e = 0; e < inside.readers() && inside.total() > 0; ++e) {
      std::printf("  expert %zu %4.1f %%  %s\n", e, 100 * inside.total(e) / inside.total(),
                  inside.marks(e, 10).c_str());
    }
  }
}

bool run(const Settings& s) {
  text::Settings places;
  places.paths = s.paths;
  const text::Corpus corpus(text::read_text(text::corpus_paths(places), std::size_t{64} << 20),
                            kModel.window);
  moe::ThreadPool pool(s.threads > 0 ? s.threads : moe::ThreadPool::hardware_threads());
  text::catch_interrupt();
  LevelsModel levels = make_levels(s, pool);
  FlatModel flat = make_flat(s, pool);
  const Reading before = read(levels, corpus, s.batch);
  text::Trainer two("two levels", levels, {.steps = s.steps, .lr = 6e-3});
  text::Trainer one("flat", flat, {.steps = s.steps, .lr = 6e-3});
  text::train_together(corpus, static_cast<std::uint64_t>(s.seed), s.steps, s.batch, two, one);

  const Reading after = read(levels, corpus, s.batch);
  const double flat_bits = read(flat, corpus, s.batch).information();
  const double group_bits = after.groups.information(), inside_bits = after.information_inside();
  print(after);
  const double two_bpb = two.curve().back().bits_per_byte,
               one_bpb = one.curve().back().bits_per_byte;
  std::printf("\nBits told about the byte just read, of %.2f:%12s%10s\n", after.groups.entropy(),
              "untrained", "trained");
  std::printf("  by its group%43.3f%10.3f\n", before.groups.information(), group_bits);
  std::printf("  by its expert, the group known%25.3f%10.3f\n", before.information_inside(),
              inside_bits);
  std::printf("  by one of %lld experts of a flat layer%28.3f\n", s.groups * s.experts, flat_bits);
  std::printf(
      "Scores per byte: %lld of groups and experts on two levels, %lld in the flat layer.\n",
      s.groups + s.experts, s.groups * s.experts);
  std::printf(
      "result: hierarchical_bpb=%s flat_bpb=%s byte_entropy=%.4f group_bits_before=%.4f "
      "group_bits=%.4f expert_bits_before=%.4f expert_bits=%.4f flat_bits=%.4f\n",
      text::exact(two_bpb).c_str(), text::exact(one_bpb).c_str(), after.groups.entropy(),
      before.groups.information(), group_bits, before.information_inside(), inside_bits, flat_bits);
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const Settings s = read_settings(count, arguments);
    return s.help || run(s) ? 0 : 1;
  } catch (const text::UsageError& error) {
    std::fprintf(stderr, "hierarchical: %s\n", error.what());
    return 2;
  }
}
