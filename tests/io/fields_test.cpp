// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Options of a user's type, whatever their fields are lists of, as text and back.
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "io/temporary_folder.hpp"
#include "moe/io/config/fields.hpp"
#include "support/catch.hpp"

namespace {

enum class Colour { red, green, blue };

template <class T>
struct Holder {
  enum class Kind { one, two };
};
using Kind = Holder<int>::Kind;

struct Inner {
  double rate = 1;

  template <class F>
  void visit(F&& f) {
    f("rate", rate);
  }
};

struct Options {
  std::vector<Colour> colours = {};
  std::vector<Kind> kinds = {};
  std::vector<float> limits = {};
  std::vector<bool> flags = {};
  std::vector<std::string> names = {};
  std::vector<std::vector<int>> nested = {};
  std::vector<std::optional<int>> maybe = {};
  std::vector<Inner> inner = {};

  template <class F>
  void visit(F&& f) {
    f("colours", colours);
    f("kinds", kinds);
    f("limits", limits);
    f("flags", flags);
    f("names", names);
    f("nested", nested);
    f("maybe", maybe);
    f("inner", inner);
  }
};

Options read(const moe::Json& json) {
  const std::filesystem::path path = "file";
  moe::detail::FieldReader reader(path, "options", json);
  Options options{.flags = {true}, .names = {"default"}};
  options.visit(reader);
  reader.finish();
  return options;
}

}  // namespace

TEST_CASE("lists of anything among options come back") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Options options = {.colours = {Colour::blue, Colour::red},
                           .kinds = {Kind::two, Kind::one},
                           .limits = {0.1f, kInfinity, -kInfinity, std::nanf("")},
                           .flags = {false, true, false},
                           .names = {"a", ""},
                           .nested = {{1, 2}, {}},
                           .maybe = {3, std::nullopt},
                           .inner = {{.rate = 0.25}, {}}};
  const moe::Json json = moe::Json::parse(moe::detail::fields_to_json(options).dump());
  CHECK(json["colours"] == moe::Json({"blue", "red"}));
  CHECK(json["limits"][1] == "inf");
  const Options loaded = read(json);
  CHECK(loaded.colours == options.colours);
  CHECK(loaded.kinds == options.kinds);
  REQUIRE(loaded.limits.size() == 4);
  CHECK(std::vector<float>(loaded.limits.begin(), loaded.limits.begin() + 3) ==
        std::vector<float>(options.limits.begin(), options.limits.begin() + 3));
  CHECK(std::isnan(loaded.limits[3]));
  CHECK(loaded.flags == options.flags);
  CHECK(loaded.names == options.names);
  CHECK(loaded.nested == options.nested);
  CHECK(loaded.maybe == options.maybe);
  REQUIRE(loaded.inner.size() == 2);
  CHECK(loaded.inner[0].rate == 0.25);
}

TEST_CASE("an item of a wrong type is named with its list") {
  const auto message = [](const char* name, const moe::Json& value) {
    return moe_test::message_of<moe::FileError>([&] { read({{name, value}}); });
  };
  CHECK(message("colours", {"red", "grey"}).find("options.colours is \"grey\"") !=
        std::string::npos);
  CHECK(message("flags", {true, 1}).find("options.flags is 1, expected true or false") !=
        std::string::npos);
  CHECK(message("limits", moe::Json::array({nullptr})).find("options.limits is null") !=
        std::string::npos);
}
