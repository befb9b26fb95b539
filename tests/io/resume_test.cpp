// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A run that is saved, thrown away and restored in a new program's objects goes on with the bits of a
// run that was never stopped.
#include "io/temporary_folder.hpp"
#include "moe/io/layer_file.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/loss/bias_update.hpp"
#include "moe/loss/global_balance.hpp"
#include "moe/loss/relu_l1.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/train/adamw.hpp"
#include "moe/train/schedule.hpp"
#include "moe/train/sgd.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

using moe::Index;
using moe_test::message_of;
using moe_test::TemporaryFolder;

namespace {

/// More experts than assignments: in every step some get no token.
constexpr Index kExperts = 12, kTokens = 3, kDim = 6;

using Layer = moe::MoeLayer<float, moe::LearnedNoise<moe::LinearRouter<float>>>;

/// All of a training: noise by step, inputs from a random state, bias updates, a controller.
template <class Optimizer>
struct Run {
  Layer layer;
  Optimizer optimizer;
  moe::Random random;
  moe::ReluL1Controller controller{.lambda = 1e-3};
  moe::BalanceCounts counts;
  moe::WarmupCosine schedule;
  std::uint64_t step = 0;
  Layer::Tape tape;
  moe::Matrix<float> x, dy, y, dx;

  Run(const typename Optimizer::Options& options, std::uint64_t seed)
      : layer({.model_dim = kDim,
               .hidden_dim = 5,
               .num_experts = kExperts,
               .top_k = 2,
               .gate = {.temperature = 1 + 0.1 * static_cast<double>(seed),
                        .selection_bias = std::vector<float>(kExperts, 0.0f)},
               .expert = {.bias = true}},
              seed),
        optimizer(options),
        random(seed),
        schedule{.peak = 0.01 * static_cast<double>(seed), .warmup_steps = 3, .total_steps = 20} {}

  /// Forward and backward of one batch; gradients add up.
  void accumulate() {
    x.resize(kTokens, kDim);
    for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(random.normal());
    dy = x;
    y.resize(kTokens, kDim);
    dx.resize(kTokens, kDim);
    layer.forward(x, y, tape, {.seed = 11, .step = step});
    tape.add_loss(moe::SwitchLoss{controller.lambda});
    layer.backward(dy, dx, tape);
    counts.add(tape.plan, tape.batch);
    controller.update(random.uniform(), 2, kExperts);
  }

  void update() {
    moe::BiasUpdate{}(layer.gate().selection_bias(), counts.choices);
    layer.gate().set_temperature(layer.gate().options().temperature * 0.99);
    optimizer.step(layer, schedule.at(static_cast<Index>(step)));
    moe::zero_grad(layer);
    counts.clear();
    ++step;
  }

  void train(int steps) {
    for (int i = 0; i < steps; ++i) {
      accumulate();
      update();
    }
  }

  moe::SavedState state() {
    moe::SavedState all;
    all.add("layer", layer).add("optimizer", optimizer, layer).add("random", random);
    all.add("controller", controller).add("counts", counts).add("schedule", schedule);
    all.add("step", step);
    return all;
  }
};

template <class Optimizer>
void check_same(Run<Optimizer>& a, Run<Optimizer>& b) {
  CHECK(moe_test::same_bits(moe_test::parameters_of(a.layer), moe_test::parameters_of(b.layer)));
  CHECK(a.optimizer.state().steps == b.optimizer.state().steps);
  CHECK(a.layer.gate().options().selection_bias == b.layer.gate().options().selection_bias);
  CHECK(a.layer.gate().options().temperature == b.layer.gate().options().temperature);
  CHECK(a.controller.lambda == b.controller.lambda);
  CHECK(a.random() == b.random());
  CHECK(a.step == b.step);
}

/// `before` steps, saved, restored into objects of another seed, `after` steps more. `halfway`: saved
/// between a backward and its optimizer step.
template <class Optimizer>
void check_resume(const typename Optimizer::Options& options, int before, int after, bool halfway) {
  const TemporaryFolder folder;
  const auto path = folder / "run.safetensors";
  Run<Optimizer> whole(options, 1), resumed(options, 2);
  whole.train(before);
  if (halfway) whole.accumulate();
  whole.state().save(path);
  resumed.train(4);  // has experts and moments of its own, which must go
  resumed.state().load(path);
  check_same(whole, resumed);
  for (auto* run : {&whole, &resumed}) {
    if (halfway) run->update();
    run->train(after);
  }
  check_same(whole, resumed);
  whole.state().save(folder / "a");
  resumed.state().save(folder / "b");
  CHECK(moe_test::file_bytes(folder / "a") == moe_test::file_bytes(folder / "b"));
}

}  // namespace

TEST_CASE("training with AdamW resumes with the same bits") {
  const int before = GENERATE(0, 1, 2, 7);
  check_resume<moe::AdamW<float>>({.weight_decay = 0.1}, before, 9, false);
}

TEST_CASE("training resumes in the middle of a step") {
  check_resume<moe::AdamW<float>>({}, 3, 5, true);
}

TEST_CASE("training with Sgd resumes with the same bits") {
  const double momentum = GENERATE(0.0, 0.9);
  check_resume<moe::Sgd<float>>({.momentum = momentum, .weight_decay = 0.1}, 2, 8, false);
}

TEST_CASE("a layer alone loads from the file of a whole run") {
  const TemporaryFolder folder;
  Run<moe::AdamW<float>> run({}, 1);
  run.train(2);
  run.state().save(folder / "run");
  Layer layer = moe::load_layer<Layer>(folder / "run");
  CHECK(layer.expert(3).w_in.value == run.layer.expert(3).w_in.value);
  CHECK(layer.gate().options().selection_bias == run.layer.gate().options().selection_bias);
}

TEST_CASE("an optimizer's state that does not fit is refused, and nothing is changed") {
  const TemporaryFolder folder;
  const auto path = folder / "run";
  Run<moe::AdamW<float>> run({}, 1);
  run.train(2);
  moe::SavedState().add("optimizer", run.optimizer, run.layer).save(path);
  std::string bytes = moe_test::file_bytes(path);
  const std::string name = "\"optimizer.router.weight.steps\"";
  const std::size_t at = bytes.find(name);
  REQUIRE(at != bytes.npos);
  folder.write("bad", bytes.replace(at, name.size(), "\"optimizer.router.wEight.steps\""));
  CHECK_THAT(message_of<moe::FileError>([&] {
               moe::SavedState().add("optimizer", run.optimizer, run.layer).load(folder / "bad");
             }),
             ContainsSubstring("has no tensor 'optimizer.router.weight.steps'"));
  CHECK(run.optimizer.steps() == 2);
  moe::Sgd<float> other;
  CHECK_THAT(message_of<moe::FileError>(
                 [&] { moe::SavedState().add("optimizer", other, run.layer).load(path); }),
             ContainsSubstring("optimizer.type is \"AdamW<float>\", expected \"Sgd<float>\""));
}

TEST_CASE("a gradient of nothing but negative zeros keeps its signs") {
  const TemporaryFolder folder;
  Run<moe::AdamW<float>> run({}, 1), loaded({}, 2);
  run.layer.visit_parameters([](std::string_view name, auto& p) {
    p.grad = p.value;
    p.grad.setConstant(name == "router.weight" ? 0.0f : -0.0f);
  });
  run.state().save(folder / "run");
  loaded.state().load(folder / "run");
  loaded.layer.visit_parameters([](std::string_view name, auto& p) {
    CAPTURE(std::string(name));
    REQUIRE(p.grad.size() == p.value.size());
    CHECK((p.grad.array() == 0).all());
    const bool negative = std::signbit(p.grad.data()[p.grad.size() - 1]);
    CHECK(negative == (name != "router.weight"));
  });
}

TEST_CASE("a negative number of steps is refused") {
  const TemporaryFolder folder;
  Run<moe::AdamW<float>> run({}, 1), other({}, 1);
  run.train(1);
  Index& steps = GENERATE(true, false) ? run.optimizer.state().steps
                                       : run.optimizer.state().parameters.front().steps;
  steps = -1;
  run.state().save(folder / "run");
  CHECK_THAT(message_of<moe::FileError>([&] { other.state().load(folder / "run"); }),
             ContainsSubstring("steps' is -1, expected at least 0"));
  CHECK(other.optimizer.steps() == 0);
}

TEST_CASE("an optimizer's options are saved, and others refused") {
  const TemporaryFolder folder;
  const auto path = folder / "run";
  Run<moe::AdamW<float>> run({.lr = 0.25, .beta1 = 0.5, .weight_decay = 0.1}, 1);
  run.train(2);
  run.state().save(path);
  Run<moe::AdamW<float>> other({.lr = 0.25, .beta1 = 0.75, .weight_decay = 0.1}, 1);
  CHECK_THAT(message_of<moe::FileError>([&] { other.state().load(path); }),
             ContainsSubstring("optimizer.config.beta1 is 0.5, expected 0.75"));
  CHECK(other.optimizer.steps() == 0);
  other.state().load(path, {.same_config = false});  // the caller's options stay
  CHECK(other.optimizer.steps() == 2);
  CHECK(other.optimizer.options().beta1 == 0.75);
}

TEST_CASE("an optimizer made from a file goes on with the same bits") {
  const TemporaryFolder folder;
  const auto path = folder / "run";
  using Adam = moe::AdamW<float>;
  Run<Adam> whole({.lr = 1e-3, .beta1 = 0.3, .beta2 = 0.8, .eps = 1e-3, .weight_decay = 0.25}, 1);
  whole.train(3);
  whole.state().save(path);
  Run<Adam> resumed({}, 2);
  resumed.optimizer = moe::load_optimizer<Adam>(path, resumed.layer);
  CHECK(resumed.optimizer.options().eps == 1e-3);
  resumed.state().load(path);
  whole.train(4);
  resumed.train(4);
  check_same(whole, resumed);

  CHECK_THAT(message_of<moe::FileError>(
                 [&] { moe::load_optimizer<moe::Sgd<float>>(path, resumed.layer); }),
             ContainsSubstring("the optimizer is 'AdamW<float>', expected 'Sgd<float>'"));
  CHECK_THAT(
      message_of<moe::FileError>([&] { moe::load_optimizer<Adam>(path, resumed.layer, "sgd"); }),
      ContainsSubstring("has no part 'sgd' with a type"));
  moe::Sgd<float> sgd({.lr = 0.5, .momentum = 0.75});
  moe::SavedState().add("sgd", sgd, whole.layer).save(path);
  const auto loaded = moe::load_optimizer<moe::Sgd<float>>(path, whole.layer, "sgd");
  CHECK(loaded.options().lr == 0.5);
  CHECK(loaded.options().momentum == 0.75);
}
