// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Prints the JSON files of the programs here as one table a person can read.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

namespace {

using Row = std::map<std::string, std::string>;

struct Results {
  std::vector<std::pair<std::string, std::string>> context;
  std::vector<std::string> order;   ///< row names as first met
  std::map<std::string, Row> rows;  ///< by name; the median where there are repetitions
};

std::string unquote(std::string text) {
  while (!text.empty() && (text.back() == ',' || text.back() == ' ')) text.pop_back();
  if (text.size() > 1 && text.front() == '"') text = text.substr(1, text.size() - 2);
  return text;
}

/// Google Benchmark writes one `"key": value,` per line; this reads no other JSON.
bool parse_line(const std::string& line, std::string& key, std::string& value) {
  const auto open = line.find('"');
  const auto close = line.find("\": ", open + 1);
  if (open == std::string::npos || close == std::string::npos) return false;
  key = line.substr(open + 1, close - open - 1);
  value = unquote(line.substr(close + 3));
  return true;
}

/// Random interleaving writes rows in any order; they go back to the order of the program.
void sort_rows(std::vector<Row>& rows) {
  std::multimap<int, Row> sorted;  // keeps the order of equal keys
  for (Row& row : rows) {
    const auto found = row.find("family_index");
    sorted.emplace(found == row.end() ? 0 : std::stoi(found->second), std::move(row));
  }
  rows.clear();
  for (auto& [index, row] : sorted) rows.push_back(std::move(row));
}

void keep(const Row& row, Results& results) {
  const auto run_name = row.find("run_name");
  if (run_name == row.end()) return;
  const bool aggregate = row.at("run_type") == "aggregate";
  if (aggregate && row.at("aggregate_name") != "median") return;
  const auto [found, created] = results.rows.try_emplace(run_name->second, row);
  if (created) results.order.push_back(run_name->second);
  if (aggregate) found->second = row;
}

void read(const std::string& path, Results& results) {
  std::ifstream file(path);
  if (!file) std::cerr << "bench_table: cannot read " << path << "\n";
  bool in_context = true;
  std::vector<Row> rows;
  Row row;
  for (std::string line, key, value; std::getline(file, line);) {
    if (line.find("\"benchmarks\": [") != std::string::npos) in_context = false;
    if (!in_context && line.find('}') != std::string::npos) {
      rows.push_back(std::move(row));
      row.clear();
    }
    if (!parse_line(line, key, value)) continue;
    if (!in_context) {
      row[key] = value;
    } else if (std::none_of(results.context.begin(), results.context.end(),
                            [&](const auto& entry) { return entry.first == key; })) {
      results.context.emplace_back(key, value);
    }
  }
  sort_rows(rows);
  for (const Row& r : rows) keep(r, results);
}

std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// A counter of a row, or NaN.
double number(const Row* row, const std::string& key) {
  if (row == nullptr || row->count(key) == 0) return std::nan("");
  return std::stod(row->at(key));
}

double seconds(const Row* row) {
  if (row == nullptr) return std::nan("");
  if (row->count("us_per_call") != 0) return number(row, "us_per_call") * 1e-6;  // timed in batches
  const std::string unit = row->at("time_unit");
  const double scale = unit == "ns" ? 1e-9 : unit == "us" ? 1e-6 : unit == "ms" ? 1e-3 : 1;
  return number(row, "real_time") * scale;
}

std::string format(const char* pattern, double value) {
  if (std::isnan(value)) return "-";
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string format_time(double s) {
  if (std::isnan(s)) return "-";
  if (s < 1e-3) return format("%.2f us", s * 1e6);
  return s < 1 ? format("%.2f ms", s * 1e3) : format("%.2f s", s);
}

/// Lines of cells, printed in columns as wide as their widest cell; the first column to the left.
class Table {
 public:
  explicit Table(std::vector<std::string> head) { lines_.push_back(std::move(head)); }
  void add(std::vector<std::string> cells) { lines_.push_back(std::move(cells)); }

  void print() const {
    if (lines_.size() == 1) return;
    std::vector<std::size_t> width(lines_[0].size());
    for (const auto& line : lines_) {
      for (std::size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], line[i].size());
    }
    std::cout << "\n";
    for (const auto& line : lines_) {
      std::cout << line[0] << std::string(width[0] - line[0].size(), ' ');
      for (std::size_t i = 1; i < line.size(); ++i) {
        std::cout << "  " << std::string(width[i] - line[i].size(), ' ') << line[i];
      }
      std::cout << "\n";
    }
  }

 private:
  std::vector<std::vector<std::string>> lines_;
};

const Row* find(const Results& results, const std::string& name) {
  const auto found = results.rows.find(name);
  return found == results.rows.end() ? nullptr : &found->second;
}

/// The rows "layer/..." with what everything else took, in multiples of that time.
void print_layers(const Results& results) {
  std::vector<std::string> others, cases;
  const auto note = [](std::vector<std::string>& list, const std::string& item) {
    if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
  };
  for (const std::string& name : results.order) {
    const auto parts = split(name);
    const bool peer = parts[0] == "peer";
    if (!peer && parts[0] != "layer" && parts[0] != "unpacked") continue;
    const std::string owner = peer ? parts[0] + "/" + parts[1] : parts[0];
    if (owner != "layer") note(others, owner);
    note(cases, name.substr(owner.size() + 1));
  }
  std::vector<std::string> head = {"layer",   "time",     "GFLOP/s", "of peak",
                                   "of read", "of bound", "routing", "error"};
  for (const std::string& other : others) head.push_back(split(other).back());
  Table table(head);
  for (const std::string& c : cases) {
    const Row* ours = find(results, "layer/" + c);
    std::vector<std::string> cells = {c,
                                      format_time(seconds(ours)),
                                      format("%.1f", number(ours, "gflops")),
                                      format("%.2f", number(ours, "flops_share")),
                                      format("%.2f", number(ours, "bandwidth_share")),
                                      format("%.2f", number(ours, "bound_share")),
                                      format("%.1f %%", 100 * number(ours, "routing_share")),
                                      format("%.0e", number(ours, "error"))};
    for (const std::string& other : others) {
      const double theirs = seconds(find(results, other + "/" + c));
      cells.push_back(ours != nullptr ? format("x %.2f", theirs / seconds(ours))
                                      : format_time(theirs));
    }
    table.add(cells);
  }
  table.print();
}

/// Rows whose name starts with one of `kinds`, with the counters asked for.
void print_counters(const Results& results, const std::vector<std::string>& kinds,
                    const std::vector<std::pair<std::string, const char*>>& counters) {
  std::vector<std::string> head = {kinds.front(), "time"};
  for (const auto& [key, pattern] : counters) head.push_back(key);
  Table table(head);
  for (const std::string& name : results.order) {
    if (std::find(kinds.begin(), kinds.end(), split(name)[0]) == kinds.end()) continue;
    const Row* row = find(results, name);
    std::vector<std::string> cells = {name, format_time(seconds(row))};
    for (const auto& [key, pattern] : counters) cells.push_back(format(pattern, number(row, key)));
    table.add(cells);
  }
  table.print();
}

void print_context(const Results& results, const std::string& command) {
  for (const char* key :
       {"cpu", "last_level_cache", "compiler", "isa", "limits threads:1", "limits threads:2",
        "MOE_FORCE_ISA", "MOE_BENCH_ZIPF", "OMP_WAIT_POLICY", "GLIBC_TUNABLES", "load_avg"}) {
    for (const auto& [name, value] : results.context) {
      if (name == key) std::printf("%-18s %s\n", key, value.c_str());
    }
  }
  std::printf("%-18s %s\n", "command", command.c_str());
  std::fflush(stdout);
}

}  // namespace

/// bench_table <command as shown on top> <file.json>...
int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: bench_table <command> <file.json>...\n";
    return 2;
  }
  Results results;
  for (int i = 2; i < argc; ++i) read(argv[i], results);
  print_context(results, argv[1]);
  print_layers(results);
  print_counters(results, {"training"},
                 {{"gflops", "%.1f"}, {"flops_share", "%.2f"}, {"saved_MB", "%.1f"}});
  print_counters(results, {"dispatch", "combine", "dispatch_backward", "combine_backward"},
                 {{"gb_per_s", "%.1f"}, {"memcpy_share", "%.2f"}});
  print_counters(results, {"router", "gate", "plan"},
                 {{"ns_per_token", "%.1f"}, {"flops_share", "%.2f"}});
  std::cout << "\nMedians. unpacked (ours, row-major weights) and peers: their time over the "
               "layer's, x 1.20 = 20 % slower.\n";
}
