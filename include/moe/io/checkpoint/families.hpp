// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// All families of checkpoints, and which of them a config.json belongs to.
#pragma once

#include "moe/io/checkpoint/bailing_moe.hpp"
#include "moe/io/checkpoint/dbrx.hpp"
#include "moe/io/checkpoint/deepseek_v2.hpp"
#include "moe/io/checkpoint/deepseek_v3.hpp"
#include "moe/io/checkpoint/deepseek_v4.hpp"
#include "moe/io/checkpoint/ernie45_moe.hpp"
#include "moe/io/checkpoint/gpt_oss.hpp"
#include "moe/io/checkpoint/granite_moe.hpp"
#include "moe/io/checkpoint/grok1.hpp"
#include "moe/io/checkpoint/jamba.hpp"
#include "moe/io/checkpoint/llama4.hpp"
#include "moe/io/checkpoint/longcat_flash.hpp"
#include "moe/io/checkpoint/minimax_m2.hpp"
#include "moe/io/checkpoint/mixtral.hpp"
#include "moe/io/checkpoint/nllb_moe.hpp"
#include "moe/io/checkpoint/olmoe.hpp"
#include "moe/io/checkpoint/phimoe.hpp"
#include "moe/io/checkpoint/qwen_moe.hpp"
#include "moe/io/checkpoint/switch_transformers.hpp"

MOE_NAMESPACE_BEGIN

/// The families that can be read.
inline const std::vector<CheckpointFamily>& checkpoint_families() {
  static const std::vector<CheckpointFamily> all = {
      families::mixtral(),       families::phimoe(),
      families::minimax_m2(),    families::qwen2_moe(),
      families::qwen3_moe(),     families::olmoe(),
      families::deepseek_v2(),   families::deepseek_v3(),
      families::deepseek_v4(),   families::glm4_moe(),
      families::dots1(),         families::kimi_k2(),
      families::ernie45_moe(),   families::bailing_moe(),
      families::longcat_flash(), families::jamba(),
      families::granite_moe(),   families::jetmoe(),
      families::dbrx(),          families::gpt_oss(),
      families::llama4(),        families::switch_transformers(),
      families::nllb_moe(),      families::grok1()};
  return all;
}

namespace detail {

inline const CheckpointFamily* family_of(std::string_view model_type) {
  for (const CheckpointFamily& family : checkpoint_families()) {
    for (const std::string_view type : family.model_types) {
      if (type == model_type) return &family;
    }
  }
  return nullptr;
}

}  // namespace detail

/// Throws FileError that lists the known model_types when there is no such family.
inline const CheckpointFamily& find_family(const ModelConfig& config) {
  for (const std::string* type : {&config.model_type(), &config.text_model_type()}) {
    if (const CheckpointFamily* family = detail::family_of(*type)) return *family;
  }
  if (config.architecture() == "Grok1ModelForCausalLM") return *detail::family_of("grok-1");
  // The original gpt-oss folders say nothing, but nobody else names these two.
  if (config.model_type().empty() && config.has("experts_per_token") &&
      config.has("swiglu_limit")) {
    return *detail::family_of("gpt_oss");
  }
  std::string known;
  for (const CheckpointFamily& family : checkpoint_families()) {
    for (const std::string_view type : family.model_types) {
      known.append(known.empty() ? "" : ", ").append(type);
    }
  }
  if (config.model_type().empty()) config.fail("model_type", "is missing; known: ", known);
  config.fail("model_type", "is ", detail::in_quotes(config.model_type()),
              ", which is no family known here; known: ", known);
}

MOE_NAMESPACE_END
