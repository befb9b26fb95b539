// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every loss and its gradients against PyTorch's: tests/golden/make_loss_golden.py.
#include <set>

#include "loss/all_losses.hpp"
#include "support/golden.hpp"

namespace moe_test {
namespace {

/// The case of the file, and what of it has been compared.
struct GoldenLosses {
  Golden golden = read_golden("losses.txt");
  LossCase<double> c;
  std::set<std::string> seen;

  GoldenLosses() : c(golden.at("logits"), 2, mask_of(golden.at("mask"))) {
    c.add_noise(golden.at("clean"), golden.at("stddev"));
    use_scores("scores");
    use_experts("expert");
  }

  static std::vector<std::uint8_t> mask_of(const Matrix<double>& values) {
    std::vector<std::uint8_t> mask;
    for (Index t = 0; t < values.size(); ++t) mask.push_back(values.data()[t] != 0 ? 1 : 0);
    return mask;
  }

  template <class V>
  void copy_real(const std::string& name, MatrixView<V> to) {
    const Matrix<double>& from = golden.at(name);
    for (Index t = 0; t < to.rows(); ++t) {
      if (c.batch.is_padding(t)) continue;
      for (Index j = 0; j < to.cols(); ++j) to(t, j) = static_cast<V>(from(t, j));
    }
  }
  void use_scores(const std::string& name) { copy_real(name, c.routing.scores); }
  void use_experts(const std::string& name) { copy_real(name, c.routing.expert); }

  /// `scores` says which leaf of the file routing.scores is.
  template <class L>
  void compare(const std::string& name, const L& loss, const std::string& scores = "scores") {
    INFO(name);
    CHECK(c.value_of(loss) == Approx(golden.at(name)(0, 0)).epsilon(1e-12));
    seen.insert(name);
    const auto check = [&](const std::string& leaf, const Matrix<double>& gradient) {
      INFO(leaf);
      const auto expected = golden.find(name + ".d" + leaf);
      if (expected == golden.end()) {
        CHECK(gradient.isZero(0));
      } else {
        CHECK(distance(gradient, expected->second) < 1e-13);
        seen.insert(expected->first);
      }
    };
    check("logits", c.dlogits);
    check(scores, c.dscores);
    check("weight", c.dweight);
    check("clean", c.noise.dclean.eigen());
    check("stddev", c.noise.dstddev.eigen());
  }
};

template <class V>
std::vector<V> row_of(const Matrix<double>& m) {
  std::vector<V> values;
  for (Index i = 0; i < m.size(); ++i) values.push_back(static_cast<V>(m.data()[i]));
  return values;
}

}  // namespace

TEST_CASE("losses and their gradients are PyTorch's", "[loss][golden]") {
  using namespace moe;  // NOLINT(google-build-using-namespace): names all of it
  GoldenLosses file;
  const Golden& golden = file.golden;
  const std::vector<Index> lengths{4, 1, 5};
  file.compare("switch", SwitchLoss{0.3});
  file.compare("switch_tokens", SwitchLoss{0.3, {.share = ShareOf::tokens}});
  file.compare("gshard", GShardLoss{0.3});
  file.compare("gshard_groups", GShardLoss{0.3, 4});
  file.compare("sequence_deepseek", SequenceBalanceLoss{.coefficient = 0.3, .lengths = lengths});
  file.compare(
      "sequence_olmo",
      SequenceBalanceLoss{.coefficient = 0.3, .lengths = lengths, .mean = MeanOver::tokens});
  file.compare("sequence_maxtext",
               SequenceBalanceLoss{
                   .coefficient = 0.3, .lengths = lengths, .form = {.share = ShareOf::tokens}});
  BalanceCounts counts{row_of<std::int64_t>(golden.at("earlier")), 14};
  counts.add(file.c.plan, file.c.batch);
  file.compare("global", GlobalBalanceLoss{0.3, &counts});
  const auto device = row_of<std::int32_t>(golden.at("device_map"));
  file.compare("device", DeviceBalanceLoss{0.3, {device, 3}});
  file.compare("communication", CommunicationBalanceLoss{0.3, {device, 3}, 2});

  const CvSquared sample{.variance = Variance::sample};
  file.copy_real("weight", file.c.routing.weight);
  file.compare("importance", ImportanceLoss{0.3});
  file.compare("importance_scores", ImportanceLoss{0.3, ImportanceLoss::Of::scores, sample});
  file.compare("load", LoadLoss{0.3});
  file.compare("load_vmoe", LoadLoss{0.3, LoadLoss::Estimate::kth_of_all, sample});
  file.compare("kl", KlUniformLoss{0.3});
  file.compare("global_entropy", GlobalEntropyLoss{0.3});
  file.compare("local_entropy", LocalEntropyLoss{0.3});
  file.compare("router_z", RouterZLoss{0.3});
  file.compare("expert_selection", ExpertSelectionLoss{0.3});
  file.compare("second_place", SecondPlaceLoss{0.3});
  const auto eta = row_of<double>(golden.at("eta"));
  file.compare("weighted", WeightedBalanceLoss{0.3, eta});
  const Matrix<std::int32_t> labels = golden.at("labels").cast<std::int32_t>();
  file.compare("supervised", SupervisedRoutingLoss{0.3, labels});

  // Sigmoid scores; experts chosen with a bias, counted without it.
  file.use_scores("sigmoid");
  file.use_experts("biased");
  const BalanceForm megatron{.chosen = ChosenBy::scores, .scores = ScoresAs::normalized};
  file.compare("switch_megatron", SwitchLoss{0.3, megatron}, "sigmoid");

  // PyTorch has its gradient by the logits, ours is by the scores: the same where they are positive.
  file.c.routing.scores.eigen() = golden.at("logits").cwiseMax(0);
  CHECK(file.c.value_of(ReluL1Loss{0.3, 2}) == Approx(golden.at("relu_l1")(0, 0)).epsilon(1e-12));
  const Matrix<double> through =
      file.c.dscores.cwiseProduct((golden.at("logits").array() > 0).cast<double>().matrix());
  CHECK(distance(through, golden.at("relu_l1.dlogits")) < 1e-13);

  const std::set<std::string> inputs{"logits", "scores", "sigmoid", "expert",  "weight",
                                     "biased", "mask",   "clean",   "stddev",  "device_map",
                                     "eta",    "labels", "earlier", "relu_l1", "relu_l1.dlogits"};
  for (const auto& [name, values] : golden) {
    INFO(name << " is in the file, but not compared");
    CHECK(inputs.count(name) + file.seen.count(name) == 1);
  }
}

}  // namespace moe_test
