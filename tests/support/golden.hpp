// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Reads the vectors that tests/golden/make_golden.py wrote.
#pragma once

#include <fstream>
#include <map>
#include <stdexcept>
#include <string>

#include "support/compare.hpp"

namespace moe_test {

/// Named matrices; asking for a name that is not there throws.
using Golden = std::map<std::string, Matrix<double>>;

inline Golden read_golden(const std::string& name) {
  const std::string path = std::string(MOE_TEST_DATA_DIR) + "/golden/" + name;
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot open " + path);
  Golden golden;
  std::string key;
  Index rows = 0, cols = 0;
  while (in >> key >> rows >> cols) {
    Matrix<double>& m = golden[key] = Matrix<double>(rows, cols);
    for (Index i = 0; i < m.size(); ++i) in >> m.data()[i];
    if (!in) throw std::runtime_error(path + ": " + key + " is cut short");
  }
  return golden;
}

}  // namespace moe_test
