// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every random choice there is, together: noise of routers, draws of gates and of capacity. The seed
// alone decides, whatever the threads and however the batch is split.
#include <set>

#include "moe/gate/gshard.hpp"
#include "moe/gate/sparse_mixer.hpp"
#include "moe/router/input_jitter.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/router/logit_noise.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"
#include "support/threads.hpp"

namespace moe_test {
namespace {

constexpr Index kTokens = 96, kDim = 6, kExperts = 5, kGroup = 8;

/// What became of each of a token's K choices: expert, weight, outcome.
struct Fate {
  std::vector<std::int32_t> expert;
  std::vector<moe::Outcome> outcome;
  std::vector<float> weight;

  bool operator==(const Fate&) const = default;
};

template <class Layer>
Fate fate_of(const Layer& layer, const Matrix<float>& x, const moe::Batch& batch,
             moe::ExecutorRef threads = {}) {
  typename Layer::Tape tape{threads};
  Matrix<float> y(x.rows(), x.cols());
  layer.forward(x, y, tape, batch);
  Fate fate;
  const auto& r = tape.routing;
  fate.expert.assign(r.expert.data(), r.expert.data() + r.expert.size());
  fate.weight.assign(r.weight.data(), r.weight.data() + r.weight.size());
  fate.outcome = tape.plan.outcome;
  return fate;
}

template <class R, class G>
struct With {
  using Router = R;
  using Gate = G;
};

using Linear = moe::LinearRouter<float>;

}  // namespace

TEMPLATE_TEST_CASE("the seed alone decides the routing, on any threads and in any batch split",
                   "[layer][seed]", (With<moe::InputJitter<Linear>, moe::TopKGate>),
                   (With<moe::LearnedNoise<Linear>, moe::TopKGate>),
                   (With<moe::LogitNoise<Linear>, moe::GShardGate>),
                   (With<moe::InputJitter<moe::LogitNoise<Linear>>, moe::SparseMixerGate>)) {
  using Layer = moe::MoeLayer<float, typename TestType::Router, typename TestType::Gate>;
  // groups, so that a part of the batch is judged as it is in the whole
  moe::CapacityOptions capacity{.factor = 0.6, .group_size = kGroup};
  const Matrix<float> x = random_matrix<float>(kTokens, kDim, 3);
  const moe::Batch batch{.seed = 11, .step = 4, .first_token = 1000};
  for (const auto order :
       {moe::DropOrder::position, moe::DropOrder::choice, moe::DropOrder::batch_priority,
        moe::DropOrder::weight, moe::DropOrder::score, moe::DropOrder::random}) {
    for (const auto overflow :
         {moe::Overflow::drop, moe::Overflow::next_best, moe::Overflow::fallback}) {
      capacity.order = order;
      capacity.overflow = overflow;
      const Layer layer({.model_dim = kDim,
                         .hidden_dim = 3,
                         .num_experts = kExperts,
                         .top_k = 2,
                         .capacity = capacity},
                        5);
      INFO("order " << static_cast<int>(order) << " overflow " << static_cast<int>(overflow));
      const Fate whole = fate_of(layer, x, batch);
      std::set<moe::Outcome> seen(whole.outcome.begin(), whole.outcome.end());
      CHECK(seen.size() > 1);  // capacity has something to decide
      for (const Index threads : {2, 3, 4}) {
        Threads pool(threads);
        CHECK(fate_of(layer, x, batch, pool) == whole);
      }
      for (const Index size : {kGroup, 3 * kGroup}) {
        Fate joined;
        for (Index first = 0; first < kTokens; first += size) {
          moe::Batch part = batch;
          part.first_token += first;
          const Fate f = fate_of(layer, Matrix<float>(x.middleRows(first, size)), part);
          joined.expert.insert(joined.expert.end(), f.expert.begin(), f.expert.end());
          joined.weight.insert(joined.weight.end(), f.weight.begin(), f.weight.end());
          joined.outcome.insert(joined.outcome.end(), f.outcome.begin(), f.outcome.end());
        }
        CHECK(joined == whole);
      }
      moe::Batch other = batch;
      other.seed = 12;
      CHECK(fate_of(layer, x, other) != whole);
      other = batch;
      other.step = 5;
      CHECK(fate_of(layer, x, other) != whole);
    }
  }
}

}  // namespace moe_test
