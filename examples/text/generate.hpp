// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Text from a model: one byte after the other, each drawn from what the model expects.
#pragma once

#include <cmath>
#include <string>

#include "byte_model.hpp"

namespace text {

/// Draws from softmax(logits / temperature).
inline std::uint8_t draw_byte(std::span<const float> logits, double temperature,
                              moe::Random& random) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  const auto weight = [&](float logit) {
    return std::exp(static_cast<double>(logit - largest) / temperature);
  };
  double sum = 0;
  for (const float logit : logits) sum += weight(logit);
  double left = random.uniform() * sum;
  for (std::size_t c = 0; c < logits.size(); ++c) {
    left -= weight(logits[c]);
    if (left < 0) return static_cast<std::uint8_t>(c);
  }
  return '\n';
}

/// `length` bytes that continue `prompt`, which holds at least one window.
template <class Model>
std::string generate(Model& model, std::string prompt, std::size_t length, double temperature,
                     std::uint64_t seed) {
  moe::Random random(seed, /*stream=*/2'000'000);
  const auto window = static_cast<std::size_t>(model.dims().window);
  const std::size_t start = prompt.size();
  std::vector<std::uint8_t> context(window);
  while (prompt.size() < start + length) {
    std::copy(prompt.end() - static_cast<Index>(window), prompt.end(), context.begin());
    const View logits = model.forward(context);
    const std::span<const float> row(logits.data(), static_cast<std::size_t>(kBytes));
    prompt.push_back(static_cast<char>(draw_byte(row, temperature, random)));
  }
  return prompt.substr(start);
}

/// For a terminal: control characters and broken UTF-8 become '.', tabs and line ends stay.
inline std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    std::size_t length = 1;
    if (byte >= 0xC2 && byte < 0xF5) length = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    bool whole = byte < 0x80 || length > 1;
    for (std::size_t j = 1; j < length; ++j) {
      whole = whole && i + j < text.size() && (text[i + j] & 0xC0) == 0x80;
    }
    const bool control = (byte < ' ' && byte != '\n' && byte != '\t') || byte == 127;
    // U+0080 to U+009F are control characters too.
    const bool c1 = whole && byte == 0xC2 && static_cast<std::uint8_t>(text[i + 1]) < 0xA0;
    if (!whole || control || c1) {
      out += '.';
      i += whole ? length : 1;
    } else {
      out.append(text, i, length);
      i += length;
    }
  }
  return out;
}

}  // namespace text
