// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// same_tensors FOUND EXPECTED TOLERANCE NAME...: are these tensors of two files the same, up to
// TOLERANCE times the largest expected value? For tests of programs that write such files.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <moe/io/safetensors.hpp>

namespace {

moe::Matrix<double> read(const moe::SafeTensors& file, const char* name) {
  const moe::TensorInfo& tensor = file.at(name);
  moe::Matrix<double> values(tensor.rows(), tensor.cols());
  file.read(name, moe::MatrixView<double>(values));
  return values;
}

/// Infinite where the shapes or what is not finite differ.
double difference(const moe::Matrix<double>& found, const moe::Matrix<double>& expected) {
  if (found.rows() != expected.rows() || found.cols() != expected.cols()) return HUGE_VAL;
  double largest = 0, difference = 0;
  for (moe::Index i = 0; i < expected.size(); ++i) {
    const double a = found.data()[i], b = expected.data()[i];
    if (std::isfinite(b)) largest = std::max(largest, std::abs(b));
    if (a == b) continue;
    if (!std::isfinite(a) || !std::isfinite(b)) return HUGE_VAL;
    difference = std::max(difference, std::abs(a - b));
  }
  return difference == 0 ? 0 : difference / largest;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) return 2;
  int different = 0;
  try {
    const moe::SafeTensors found(arguments[1]), expected(arguments[2]);
    const double tolerance = std::atof(arguments[3]);
    for (int i = 4; i < count; ++i) {
      const double d = difference(read(found, arguments[i]), read(expected, arguments[i]));
      std::printf("%s: %g\n", arguments[i], d);
      different += d <= tolerance ? 0 : 1;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "same_tensors: %s\n", error.what());
    return 2;
  }
  return different == 0 ? 0 : 1;
}
