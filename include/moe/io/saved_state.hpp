// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Saves and restores anything that learns, bit for bit: layers, optimizers, random states, counters.
#pragma once

#include "moe/io/config/compare.hpp"
#include "moe/io/layer_config.hpp"
#include "moe/io/optimizer_state.hpp"
#include "moe/io/state_leaves.hpp"

MOE_NAMESPACE_BEGIN

/// How strict loading is.
struct LoadOptions {
  /// Types and options that the file knows of must be those of the parts. Without, any file is taken
  /// whose tensors have the right names, types and shapes; the parts keep their options.
  bool same_config = true;
};

/// A list of what makes up a run, by name and by reference:
///
///   moe::SavedState run;
///   run.add("layer", layer).add("optimizer", optimizer, layer).add("l1", controller);
///   run.add("step", step).add("random", random);
///   run.save("run.safetensors");   // later, in a program with the same parts:
///   run.load("run.safetensors");   // and it goes on with the same bits
///
/// The parts must live as long as this object. A file is replaced as a whole or not at all; loading
/// changes nothing unless everything in the file fits.
class SavedState {
 public:
  /// A number, an array or vector of numbers, or anything with visit_parameters, visit_state (see
  /// moe/core/state.hpp) or both. Throws std::invalid_argument on a name that is taken, empty or
  /// has a dot.
  template <class X>
  SavedState& add(std::string name, X& part) {
    Entry entry = named(std::move(name));
    entry.save = [&part](const std::string& n, detail::SaveList& list) {
      save_part(n, part, list);
    };
    entry.load = [&part](const std::string& n, detail::LoadList& list) {
      load_part(n, part, list);
    };
    entry.describe = [&part] { return description(part); };
    if constexpr (HasState<X>) {
      part.visit_state([&](std::string_view full, auto&&...) {
        entry.state.insert(std::string(full.substr(full.rfind('.') + 1)));
      });
    }
    entries_.push_back(std::move(entry));
    return *this;
  }

  /// An optimizer: its options, what it remembers of `module`'s parameters, and which of them have had
  /// a gradient: what has not is left alone by the next step too.
  template <class O, class M>
  requires requires(O& o) { o.state().parameters; }
  SavedState& add(std::string name, O& optimizer, M& module) {
    Entry entry = named(std::move(name));
    entry.save = [&](const std::string& n, detail::SaveList& list) {
      detail::save_optimizer(n, optimizer.state(), module, list);
    };
    entry.load = [&](const std::string& n, detail::LoadList& list) {
      detail::load_optimizer(n, optimizer.state(), module, list);
    };
    entry.describe = [&optimizer] {
      Json about = {{"type", type_label<O>()}};
      if constexpr (detail::Describable<O>) {
        about["config"] = detail::fields_to_json(detail::options_behind(optimizer));
      }
      return about;
    };
    entries_.push_back(std::move(entry));
    return *this;
  }

  /// Throws FileError when the disk is full or the file cannot be written; what was at the path then
  /// stays.
  void save(const std::filesystem::path& path) const {
    detail::SaveList list;
    Json parts = Json::object();
    for (const Entry& entry : entries_) {
      entry.save(entry.name, list);
      parts[entry.name] = entry.describe();
    }
    const Json about = {{"format", kFormat}, {"version", MOE_VERSION_STRING}, {"parts", parts}};
    list.write(path, {{"moe", about.dump()}});
  }

  /// Throws FileError naming the tensor or the option, what was expected and what was found, when the
  /// file is damaged or not of these parts; nothing is then changed. Tensors of parts that were not
  /// added are left alone.
  void load(const std::filesystem::path& path, const LoadOptions& options = {}) const {
    load(SafeTensors(path), options);
  }
  void load(const SafeTensors& file, const LoadOptions& options = {}) const {
    const Json about = read_about(file);
    detail::LoadList list(file);
    for (const Entry& entry : entries_) {
      if (options.same_config) check_description(file, about, entry);
      entry.load(entry.name, list);
      list.check_all_taken(entry.name);
    }
    list.commit();
  }

  /// What the file says of its parts: {"format": 1, "parts": {name: {"type": ..., "config": {...}}}}.
  /// Throws FileError unless the file was saved by this class, in a format not newer than known.
  static Json read_about(const SafeTensors& file) {
    const std::filesystem::path& path = file.files().front();
    const auto text = file.metadata().find("moe");
    if (text == file.metadata().end()) {
      detail::fail_file(path, "has no metadata 'moe', expected a file saved by moe::SavedState");
    }
    Json about = parse_json(text->second, path);
    const Json none = Json::object();
    const Json& format = about.is_object() ? about.value("format", none) : none;
    if (!format.is_number_unsigned() || format == 0) {
      detail::fail_file(path, "the metadata 'moe' has no format number");
    }
    if (format > kFormat) {
      detail::fail_file(path, "has format ", format.get<std::uint64_t>(),
                        ", this version reads up to ", kFormat);
    }
    if (!about.contains("parts") || !about["parts"].is_object()) {
      detail::fail_file(path, "the metadata 'moe' lists no parts");
    }
    return about;
  }

 private:
  static constexpr int kFormat = 1;

  struct Entry {
    std::string name;
    std::function<void(const std::string&, detail::SaveList&)> save;
    std::function<void(const std::string&, detail::LoadList&)> load;
    std::function<Json()> describe;
    std::set<std::string> state;  // options that are restored, and so need not agree
  };

  Entry named(std::string name) const {
    const auto taken = [&](const Entry& e) { return e.name == name; };
    if (name.empty() || name.find('.') != name.npos || std::ranges::any_of(entries_, taken)) {
      detail::fail("moe::SavedState::add", "the name ", detail::in_quotes(name),
                   " is empty, has a dot or is taken");
    }
    Entry entry;
    entry.name = std::move(name);
    return entry;
  }

  template <class X>
  static Json description(const X& part) {
    Json about = {{"type", type_label<X>()}};
    if constexpr (detail::HasBlueprint<X>) about["config"] = detail::describe(part);
    return about;
  }

  // --- parts ---

  template <class X>
  static constexpr bool kVisitsParameters = requires(X& x, detail::AnyStateVisitor f) {
    x.visit_parameters(f);
  };

  template <class X>
  static void save_part(const std::string& name, X& part, detail::SaveList& list) {
    constexpr bool kPart = kVisitsParameters<X> || HasState<X>;
    if constexpr (kVisitsParameters<X>) {
      part.visit_parameters(
          [&](std::string_view n, auto& p) { list.add(name + "." + std::string(n), p.value); });
    }
    if constexpr (HasState<X>) {
      part.visit_state([&](std::string_view n, auto&& value, auto&&...) {
        list.add_state(name + "." + std::string(n), value);
      });
    }
    if constexpr (!kPart) list.add_state(name, part);
  }

  template <class X>
  static void load_part(const std::string& name, X& part, detail::LoadList& list) {
    constexpr bool kPart = kVisitsParameters<X> || HasState<X>;
    if constexpr (kVisitsParameters<X>) {
      part.visit_parameters(
          [&](std::string_view n, auto& p) { list.add(name + "." + std::string(n), p.value); });
    }
    if constexpr (HasState<X>) {
      part.visit_state([&](std::string_view n, auto&& value, auto&&... check) {
        list.add_state(name + "." + std::string(n), value, check...);
      });
    }
    if constexpr (!kPart) list.add_state(name, part);
  }

  // --- descriptions ---

  static void check_description(const SafeTensors& file, const Json& about, const Entry& entry) {
    const std::filesystem::path& path = file.files().front();
    const auto found = about["parts"].find(entry.name);
    if (found == about["parts"].end()) {
      detail::fail_file(path, "has no part ", detail::in_quotes(entry.name));
    }
    detail::compare_descriptions(path, entry.name, *found, entry.describe(), entry.state);
  }

  std::vector<Entry> entries_;
};

MOE_NAMESPACE_END
