// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Stacks of FFNs whose kind is decided while the program runs.
#include "moe/block/ffn_layer.hpp"
#include "moe/block/stack.hpp"
#include "moe/expert/any_of.hpp"
#include "moe/expert/identity.hpp"
#include "moe/train/lora/ffn.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {

TEST_CASE("a stack asks experts of several kinds before a backward changes anything",
          "[block][misuse]") {
  using Plain = moe::FfnLayer<float>;
  using Lora = moe::LoraFfn<moe::GatedFfn<float>>;
  using Mixed = moe::FfnLayer<float, moe::AnyOf<float, Lora, moe::IdentityExpert<float>>>;
  moe::Random random(3);
  const moe::Dims dims{.model_dim = 6, .hidden_dim = 5, .num_experts = 1, .top_k = 1};
  moe::BlockStack<float, Mixed, Plain> stack({.blocks = 2},
                                             {Mixed(6, Lora(dims, {.lora = {.rank = 2}}, random))},
                                             {Plain({.model_dim = 6, .hidden_dim = 4})});
  const Matrix<float> x = random_matrix<float>(7, 6, 1), dy = random_matrix<float>(7, 6, 2);
  Matrix<float> y(7, 6), dx = Matrix<float>::Constant(7, 6, 3);
  decltype(stack)::Tape tape;
  stack.forward(x, y, tape);
  const auto before = parameters_of(stack);
  const auto refusal = [&] { return sentence_of([&] { stack.backward(dy, dx, tape); }); };
  auto& expert = stack.dense().front().expert();
  expert.get<Lora>().merge();
  CHECK_THAT(refusal(),
             StartsWith("moe::LoraFfn::backward: the expert was merged since the forward"));
  expert.get<Lora>().unmerge();
  const auto adapted = expert;
  expert = moe::IdentityExpert<float>();
  CHECK(refusal() == "moe::AnyOf::backward: the expert is of another kind than in the forward");
  expert = adapted;
  CHECK(same_bits(parameters_of(stack), before));
  CHECK((dx.array() == 3).all());
  stack.backward(dy, dx, tape);
}

}  // namespace moe_test
