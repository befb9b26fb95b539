// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Several models through the same batches, side by side, so that they compare at any time.
#pragma once

#include "interrupt.hpp"
#include "progress.hpp"
#include "trainer.hpp"

namespace text {

namespace detail {

/// Share of each expert in a model's last step; nothing for a model without experts.
template <class Model>
void expert_load(Model& model, moe::RoutingStats& stats, std::vector<double>& load) {
  if constexpr (requires { model.block().training().routing; }) {
    const auto& last = model.block().training();
    moe::routing_stats(last.routing, last.plan, stats);
    load.resize(stats.tokens_per_expert.size());
    for (std::size_t e = 0; e < load.size(); ++e) {
      load[e] = static_cast<double>(stats.tokens_per_expert[e]) /
                static_cast<double>(std::max<Index>(last.plan.count(), 1));
    }
  }
}

}  // namespace detail

/// Trains until `steps` or Ctrl-C, whichever comes first; measures 25 times on the way and at the
/// end. The progress shows the experts of the first model. Every model sees the same batches.
template <class First, class... Rest>
void train_together(const Corpus& corpus, std::uint64_t seed, Index steps, Index batch_size,
                    Trainer<First>& first, Trainer<Rest>&... rest) {
  const auto each = [&](auto&& f) { f(first), (f(rest), ...); };
  const auto measure = [&](auto& trainer) { trainer.validate(corpus, batch_size); };
  const Index every = std::max<Index>(steps / 25, 1);
  ProgressBar progress;
  Status status;
  status.step = first.steps_done();  // not 0 when resumed
  status.steps = steps;
  moe::RoutingStats stats;
  ByteBatch batch;
  while (status.step < steps && !interrupted()) {
    corpus.draw(seed, status.step, batch_size, batch);
    each([&](auto& trainer) { trainer.step(batch); });
    ++status.step;
    if (status.step % every == 0) each(measure);
    status.bits_per_byte.clear();
    each([&](auto& t) { status.bits_per_byte.emplace_back(t.name(), t.smoothed_bits()); });
    status.tokens_per_second = first.tokens_per_second();
    detail::expert_load(first.model(), stats, status.load);
    progress.show(status);
  }
  if (status.step % every != 0) each(measure);
  if (status.step < steps) std::printf("\nStopped after step %td of %td.\n", status.step, steps);
}

}  // namespace text
