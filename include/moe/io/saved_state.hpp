// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Saves and restores anything that learns, bit for bit: layers, optimizers, random states, counters.
#pragma once

#include "moe/io/layer_config.hpp"
#include "moe/io/state_leaves.hpp"
#include "moe/train/slots.hpp"

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

  /// An optimizer with what it remembers of `module`'s parameters, and which of them have had a
  /// gradient: what has not is left alone by the next step too.
  template <class O, class M>
  requires requires(O& o) { o.state().parameters; }
  SavedState& add(std::string name, O& optimizer, M& module) {
    Entry entry = named(std::move(name));
    entry.save = [&](const std::string& n, detail::SaveList& list) {
      save_optimizer(n, optimizer.state(), module, list);
    };
    entry.load = [&](const std::string& n, detail::LoadList& list) {
      load_optimizer(n, optimizer.state(), module, list);
    };
    entry.describe = [] { return Json{{"type", type_label<O>()}}; };
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
    const SafeTensors file(path);
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
    if constexpr (detail::HasConfig<X>) about["config"] = detail::config_to_json(part);
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

  // --- optimizers: "<name>.steps"; of each parameter ".steps", and where there are any ".first",
  // ".second" and ".grad", [0] for a gradient that is there and zero ---

  template <class S, class M>
  static void save_optimizer(const std::string& name, OptimizerState<S>& state, M& module,
                             detail::SaveList& list) {
    if (!state.parameters.empty()) state.check(module, "moe::SavedState::save");
    list.add_state(name + ".steps", state.steps);
    std::size_t i = 0;
    module.visit_parameters([&](std::string_view n, Parameter<S>& p) {
      const std::string full = name + "." + std::string(n);
      const auto begin = p.grad.data(), end = begin + p.grad.size();
      if (p.grad.size() != 0 && std::all_of(begin, end, [](S v) { return v == 0; })) {
        list.add(full + ".grad", dtype_of<S>(), {0}, nullptr);
      } else if (p.grad.size() != 0) {
        list.add(full + ".grad", p.grad);
      }
      if (state.parameters.empty()) return;
      ParameterState<S>& slot = state.parameters[i++];
      list.add_state(full + ".steps", slot.steps);
      if (slot.first.size() != 0) list.add(full + ".first", slot.first);
      if (slot.second.size() != 0) list.add(full + ".second", slot.second);
    });
  }

  template <class S, class M>
  static void load_optimizer(const std::string& name, OptimizerState<S>& state, M& module,
                             detail::LoadList& list) {
    OptimizerState<S> next;
    const auto number = [&](const std::string& full) {
      const TensorInfo& tensor = list.take(full, dtype_of<Index>(), {});
      Index value = 0;
      SafeTensors::read<Index>(tensor, MatrixView<Index>(&value, 1, 1));
      if (value < 0) SafeTensors::fail(tensor, "is ", value, ", expected at least 0");
      return value;
    };
    const auto matrix = [&](const std::string& full, const Parameter<S>& p) {
      Matrix<S> values;
      if (!list.file().contains(full)) return values;
      const Index shape[] = {p.value.rows(), p.value.cols()};
      const TensorInfo& tensor = list.take(full, dtype_of<S>(), shape);
      values.resize(shape[0], shape[1]);
      SafeTensors::read<S>(tensor, values);
      list.file().release(tensor);
      return values;
    };
    next.steps = number(name + ".steps");
    bool stepped = false;
    module.visit_parameters([&](std::string_view n, Parameter<S>&) {
      stepped = stepped || list.file().contains(name + "." + std::string(n) + ".steps");
    });
    module.visit_parameters([&](std::string_view n, Parameter<S>& p) {
      const std::string full = name + "." + std::string(n);
      list.on_commit([&p, grad = gradient(full + ".grad", p, matrix, list)]() mutable {
        p.grad = std::move(grad);
      });
      if (!stepped) return;
      next.parameters.push_back({.name = std::string(n),
                                 .steps = number(full + ".steps"),
                                 .first = matrix(full + ".first", p),
                                 .second = matrix(full + ".second", p)});
    });
    list.on_commit([&state, next = std::move(next)]() mutable { state = std::move(next); });
  }

  template <class S, class F>
  static Matrix<S> gradient(const std::string& full, const Parameter<S>& p, const F& matrix,
                            detail::LoadList& list) {
    const TensorInfo* tensor = list.file().find(full);
    if (tensor == nullptr || tensor->shape.size() != 1) return matrix(full, p);
    list.take(full, dtype_of<S>(), std::array<Index, 1>{0});
    return Matrix<S>::Zero(p.value.rows(), p.value.cols());
  }

  // --- descriptions ---

  static void check_description(const SafeTensors& file, const Json& about, const Entry& entry) {
    const std::filesystem::path& path = file.files().front();
    const auto found = about["parts"].find(entry.name);
    if (found == about["parts"].end()) {
      detail::fail_file(path, "has no part ", detail::in_quotes(entry.name));
    }
    compare(path, entry.name, *found, entry.describe(), entry.state);
  }

  /// Every option that both know must agree.
  static void compare(const std::filesystem::path& path, const std::string& where,
                      const Json& found, const Json& expected, const std::set<std::string>& state) {
    if (!found.is_object() || !expected.is_object()) {
      if (found != expected) {
        detail::fail_file(path, where, " is ", detail::FieldReader::shown(found), ", expected ",
                          detail::FieldReader::shown(expected));
      }
      return;
    }
    for (const auto& [key, value] : expected.items()) {
      if (!state.contains(key) && found.contains(key)) {
        compare(path, where + "." + key, found[key], value, state);
      }
    }
  }

  std::vector<Entry> entries_;
};

MOE_NAMESPACE_END
