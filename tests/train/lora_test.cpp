// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/lora.hpp"

#include "moe/train/adamw.hpp"
#include "moe/train/freeze.hpp"
#include "support/catch.hpp"
#include "train/lora_cases.hpp"

namespace moe_test {

TEST_CASE("A layer with fresh adapters computes what it computed", "[train][lora]") {
  const auto plain = plain_layer<moe::GatedFfn<double>>();
  const auto adapted = moe::add_lora(plain, {.experts = {.rank = 3}, .router = {.rank = 2}});
  const Matrix<double> x = random_matrix<double>(21, 6, 5);
  CHECK(same_bits(output(adapted, x), output(plain, x)));
}

TEST_CASE("Gradients of adapters are those of the weights they change, projected",
          "[train][lora]") {
  auto layer = adapted_layer<moe::GatedFfn<double>>();
  auto twin = moe::merged_layer(layer);
  moe::unfreeze(twin);
  const Matrix<double> x = random_matrix<double>(21, 6, 5), dy = random_matrix<double>(21, 6, 6);
  const Step<double> step = train_step(layer, x, dy), full = train_step(twin, x, dy);
  CHECK(same_bits(step.y, full.y));
  CHECK(same_bits(step.dx, full.dx));
  const auto check = [&](const std::string& name, const std::string& lora, double scale) {
    INFO(name);
    Matrix<double> a, b;
    layer.visit_parameters([&](std::string_view n, auto& p) {
      if (n == lora + ".a") a = p.value;
      if (n == lora + ".b") b = p.value;
    });
    const Matrix<double>& dw = full.gradient.at(name);
    CHECK(distance(step.gradient.at(lora + ".b"), Matrix<double>(scale * dw * a.transpose())) <
          1e-13);
    CHECK(distance(step.gradient.at(lora + ".a"), Matrix<double>(scale * b.transpose() * dw)) <
          1e-13);
    CHECK(step.gradient.at(name).size() == 0);
  };
  check("router.weight", "router.lora", 1.5);
  for (const std::string expert : {"experts.0.", "experts.3."}) {
    for (const std::string name : {"w_gate", "w_in", "w_out"}) {
      check(expert + name, expert + "lora." + name, 4.0 / 3);
    }
  }
}

TEST_CASE("Only the adapters train, and only they have gradients and state", "[train][lora]") {
  auto layer = adapted_layer<moe::GatedFfn<double>>();
  const auto before = parameters_of(layer);
  moe::AdamW<double> adamw;
  for (std::uint64_t n = 0; n < 3; ++n) {
    train_step(layer, random_matrix<double>(21, 6, n), random_matrix<double>(21, 6, 9 + n));
    adamw.step(layer);
  }
  Index adapters = 0;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    INFO(name);
    const bool is_adapter = name.find("lora") != std::string_view::npos;
    CHECK(p.trainable == is_adapter);
    CHECK((p.grad.size() != 0) == is_adapter);
    CHECK(same_bits(p.value, before.at(std::string(name))) == !is_adapter);
    if (is_adapter) adapters += p.value.size();
  });
  CHECK(moe::trainable_count(layer) == adapters);
  CHECK(adamw.state().size() == 2 * adapters);
}

TEST_CASE("Chosen experts and chosen matrices alone get adapters", "[train][lora]") {
  auto layer =
      moe::add_lora(plain_layer<moe::GatedFfn<double>>(),
                    {.experts = {.rank = 2, .on_gate = false, .on_in = false}, .chosen = {1, 3}});
  std::vector<std::string> names;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    if (p.trainable) names.emplace_back(name);
  });
  CHECK(names == std::vector<std::string>{"experts.1.lora.w_out.a", "experts.1.lora.w_out.b",
                                          "experts.3.lora.w_out.a", "experts.3.lora.w_out.b"});
  train_step(layer, random_matrix<double>(21, 6, 1), random_matrix<double>(21, 6, 2));
  CHECK(layer.expert(1).out.b.grad.size() == 6 * 2);
}

}  // namespace moe_test
