// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The header of a safetensors file: bytes -> tensors with dtype, shape and place, all checked.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "moe/io/dtype.hpp"
#include "moe/io/json.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

inline constexpr std::size_t kLongestHeader = 100'000'000;  // the format's own limit

/// One tensor as the header has it; offsets count from the end of the header.
struct HeaderTensor {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<Index> shape;
  std::size_t begin = 0, end = 0;
};

struct Header {
  std::vector<HeaderTensor> tensors;  ///< by place in the file
  std::map<std::string, std::string> metadata;
  std::size_t data = 0;  ///< where in the file the tensors' bytes start
};

/// {"__metadata__": {text: text}, name: {"dtype": text, "shape": [n ...], "data_offsets": [a, b]}}
/// and nothing else, taken value by value, so that a hostile header is refused at its first wrong
/// one. The interface is nlohmann::json_sax.
class HeaderReader {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  explicit HeaderReader(const std::filesystem::path& path) : path_(path) {}
  Header take() { return std::move(header_); }

  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("a truth value"); }
  bool number_integer(number_integer_t value) { unexpected(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) { unexpected(text); }
  bool binary(binary_t&) { unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) {
    if (at_ != At::array) unexpected(std::to_string(value));
    if (!std::in_range<Index>(value)) fail(field_, " has ", value, ", which is too large");
    numbers_.push_back(static_cast<Index>(value));
    return true;
  }

  bool string(string_t& text) {
    if (at_ == At::metadata) {
      header_.metadata.at(field_) = std::move(text);
    } else if (at_ == At::tensor && field_ == "dtype") {
      const auto dtype = dtype_named(text);
      if (!dtype) fail("unknown dtype ", in_quotes(text));
      tensor_.dtype = *dtype;
    } else {
      unexpected("the text " + in_quotes(text));
    }
    return true;
  }

  bool start_object(std::size_t) {
    if (at_ == At::start) {
      at_ = At::top;
    } else if (at_ == At::entry) {
      at_ = tensor_.name == kMetadata ? At::metadata : At::tensor;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(string_t& text) {
    if (at_ == At::top) {
      tensor_ = {};
      tensor_.name = text;
      seen_ = {};
      if (!names_.insert(text).second) fail("is there twice");
      at_ = At::entry;
    } else if (at_ == At::metadata) {
      if (!header_.metadata.emplace(text, "").second)
        fail("key ", in_quotes(text), " is there twice");
      field_ = std::move(text);
    } else {
      const auto which = std::find(kFields.begin(), kFields.end(), text);
      if (which == kFields.end()) fail("unknown key ", in_quotes(text));
      bool& seen = seen_[static_cast<std::size_t>(which - kFields.begin())];
      if (seen) fail("key '", text, "' is there twice");
      seen = true;
      field_ = std::move(text);
    }
    return true;
  }

  bool end_object() {
    if (at_ == At::tensor) {
      for (std::size_t i = 0; i < kFields.size(); ++i) {
        if (!seen_[i]) fail("has no '", kFields[i], "'");
      }
      header_.tensors.push_back(std::move(tensor_));
    }
    at_ = at_ == At::top ? At::done : At::top;
    return true;
  }

  bool start_array(std::size_t) {
    if (at_ != At::tensor || field_ == "dtype") unexpected("an array");
    numbers_.clear();
    at_ = At::array;
    return true;
  }

  bool end_array() {
    if (field_ == "shape") {
      tensor_.shape = numbers_;
    } else {
      if (numbers_.size() != 2) fail("data_offsets has ", numbers_.size(), " numbers, expected 2");
      tensor_.begin = static_cast<std::size_t>(numbers_[0]);
      tensor_.end = static_cast<std::size_t>(numbers_[1]);
    }
    at_ = At::tensor;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const Json::exception& error) {
    fail_file(path_, "bad JSON in the header: ", parser_message(error));
  }

 private:
  enum class At { start, top, entry, metadata, tensor, array, done };
  static constexpr std::string_view kMetadata = "__metadata__";
  static constexpr std::array<std::string_view, 3> kFields = {"dtype", "shape", "data_offsets"};

  [[noreturn]] void unexpected(const std::string& what) const {
    if (at_ == At::start || at_ == At::top) fail_file(path_, "the header is ", what);
    if (at_ == At::entry) fail("is ", what, ", expected an object");
    fail(in_quotes(field_), " is or holds ", what);
  }
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    const bool metadata = tensor_.name == kMetadata;
    fail_file(path_, metadata ? "" : "tensor ", metadata ? "metadata" : in_quotes(tensor_.name),
              ": ", parts...);
  }

  const std::filesystem::path& path_;
  Header header_;
  At at_ = At::start;
  HeaderTensor tensor_;
  std::string field_;
  std::array<bool, 3> seen_{};
  std::vector<Index> numbers_;
  std::unordered_set<std::string> names_;
};

/// Throws unless shape * dtype is the tensor's number of bytes, without overflow on the way.
inline void check_bytes(const std::filesystem::path& path, const HeaderTensor& t) {
  if (t.end < t.begin) {
    fail_file(path, "tensor ", in_quotes(t.name), ": data_offsets are [", t.begin, ", ", t.end,
              "], the end before the begin");
  }
  auto bytes = static_cast<Index>(dtype_size(t.dtype));
  for (const Index n : t.shape) {
    // Before a factor 0 as well: no part of a shape may overflow later.
    if (__builtin_mul_overflow(bytes, n, &bytes)) {
      fail_file(path, "tensor ", in_quotes(t.name), ": the shape's product is too large");
    }
  }
  if (static_cast<std::size_t>(bytes) != t.end - t.begin) {
    fail_file(path, "tensor ", in_quotes(t.name), ": ", dtype_name(t.dtype), " of its shape are ",
              bytes, " bytes, data_offsets span ", t.end - t.begin);
  }
}

/// Throws unless the tensors follow one another without hole or overlap to the end of the file.
inline void check_places(const std::filesystem::path& path, const Header& header,
                         std::size_t data_bytes) {
  std::size_t at = 0;
  for (const HeaderTensor& t : header.tensors) {
    if (t.end > data_bytes) {
      fail_file(path, "tensor ", in_quotes(t.name), ": ends at byte ", t.end,
                " of the data, of which the file has ", data_bytes);
    }
    if (t.begin != at) {
      fail_file(path, "tensor ", in_quotes(t.name), ": starts at byte ", t.begin,
                " of the data, the tensor before ends at ", at,
                t.begin < at ? ": they overlap" : ": a hole");
    }
    at = t.end;
  }
  if (at != data_bytes) {
    fail_file(path, "the tensors end at byte ", at, " of the data, of which the file has ",
              data_bytes);
  }
}

/// The header of a file with these bytes. Throws FileError on anything the format does not allow:
/// https://github.com/huggingface/safetensors#format.
inline Header read_header(const std::filesystem::path& path, std::span<const std::byte> file) {
  constexpr std::size_t kLengthBytes = 8;
  if (file.size() < kLengthBytes) {
    fail_file(path, "has ", file.size(), " bytes, too few for a safetensors file");
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  const std::size_t rest = file.size() - kLengthBytes;
  if (length > rest) {
    fail_file(path, "says that its header has ", length, " bytes, ", rest, " follow");
  }
  if (length > kLongestHeader) {
    fail_file(path, "says that its header has ", length, " bytes, expected at most ",
              kLongestHeader);
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  if (!text.starts_with('{')) fail_file(path, "the header does not start with '{'");
  check_no_nul(path, text);
  HeaderReader reader(path);
  Json::sax_parse(text, &reader);
  Header header = reader.take();
  header.data = kLengthBytes + length;
  for (const HeaderTensor& t : header.tensors) check_bytes(path, t);
  const auto place = [](const HeaderTensor& t) { return std::pair(t.begin, t.end); };
  std::sort(header.tensors.begin(), header.tensors.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  check_places(path, header, rest - length);
  return header;
}

}  // namespace detail
MOE_NAMESPACE_END
