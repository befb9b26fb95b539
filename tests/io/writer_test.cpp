// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Writing that fails: whatever happens, the old file is whole and no other file stays.
#include "moe/io/safetensors_writer.hpp"

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "io/temporary_folder.hpp"
#include "support/catch.hpp"

using moe::Dtype;
using moe::SafeTensorsWriter;
using moe_test::file_bytes;
using moe_test::message_of;
using moe_test::TemporaryFolder;

namespace {

const std::vector<moe::TensorSpec> kSpecs = {{"a", Dtype::f32, {1000}}, {"b", Dtype::f32, {1000}}};

/// Files in the folder.
auto count(const TemporaryFolder& folder) {
  return std::distance(std::filesystem::directory_iterator(folder.path()), {});
}

void write_rows(SafeTensorsWriter& writer, const std::string& name, moe::Index rows) {
  const moe::Matrix<float> values = moe::Matrix<float>::Constant(1, rows, 3.0f);
  writer.write(name, values);
}

/// The largest file that this process may write, until the end of the scope: a full disk.
class FileLimit {
 public:
  explicit FileLimit(::rlim_t bytes) {
    old_action_ = std::signal(SIGXFSZ, SIG_IGN);  // write() then fails with EFBIG
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const ::rlimit now{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_action_);
  }

 private:
  ::rlimit old_{};
  void (*old_action_)(int) = nullptr;
};

}  // namespace

TEST_CASE("a full disk leaves the old file whole") {
  const TemporaryFolder folder;
  const auto path = folder.write("x.safetensors", "old");
  for (const ::rlim_t bytes : {0u, 100u, 1000u, 5000u}) {  // in the header, in "a", in "b"
    std::string message;
    {
      const FileLimit limit(bytes);
      message = message_of<moe::FileError>([&] {
        SafeTensorsWriter writer(path, kSpecs);
        write_rows(writer, "a", 1000);
        write_rows(writer, "b", 1000);
        writer.finish();
      });
    }
    CHECK_THAT(message, ContainsSubstring(path.string() + ": cannot write the file: "));
    CHECK(file_bytes(path) == "old");
    CHECK(count(folder) == 1);
  }
}

TEST_CASE("a kill leaves the old file whole") {
  const TemporaryFolder folder;
  const auto path = folder.write("x.safetensors", "old");
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    SafeTensorsWriter writer(path, kSpecs);
    write_rows(writer, "a", 1000);
    std::raise(SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(file_bytes(path) == "old");
}

TEST_CASE("an unfinished writer leaves nothing") {
  const TemporaryFolder folder;
  {
    SafeTensorsWriter writer(folder / "x.safetensors", kSpecs);
    write_rows(writer, "a", 1000);
    CHECK(count(folder) == 1);
    SafeTensorsWriter moved = std::move(writer);
    write_rows(moved, "b", 999);
    CHECK_THROWS_WITH(moved.finish(), ContainsSubstring("tensor 'b' has 4000 bytes, got 3996"));
  }
  CHECK(count(folder) == 0);
}

TEST_CASE("wrong calls of the writer say what is wrong") {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  const auto check = [&](std::vector<moe::TensorSpec> specs, const std::string& what,
                         const std::map<std::string, std::string>& metadata = {}) {
    CHECK_THAT(message_of<std::invalid_argument>(
                   [&] { SafeTensorsWriter(path, std::move(specs), metadata); }),
               ContainsSubstring("moe::SafeTensorsWriter: " + what));
  };
  check({{"a", Dtype::u8, {1}}, {"a", Dtype::u8, {1}}}, "tensor 'a' is there twice");
  check({{"__metadata__", Dtype::u8, {1}}}, "tensor '__metadata__'");
  check({{"a", Dtype::u8, {-1}}}, "tensor 'a' has -1 in its shape");
  check({{"a", Dtype::f64, {moe::Index{1} << 62}}}, "tensor 'a'");
  check({{"a", Dtype::u8, {moe::Index{1} << 62}}, {"b", Dtype::u8, {moe::Index{1} << 62}}},
        "the tensors' bytes overflow");
  check({{"\xFF", Dtype::u8, {1}}}, "a name or a text is not UTF-8");
  check({}, "a name or a text is not UTF-8", {{"k", "\xFF"}});
  CHECK(count(folder) == 0);

  SafeTensorsWriter writer(path, kSpecs);
  const moe::Matrix<double> doubles(1, 1000);
  CHECK_THROWS_WITH(write_rows(writer, "c", 1), ContainsSubstring("no tensor 'c' was announced"));
  CHECK_THROWS_WITH(write_rows(writer, "a", 1001),
                    ContainsSubstring("tensor 'a' has 4000 bytes, got 4004"));
  CHECK_THROWS_WITH(writer.write("a", doubles),
                    ContainsSubstring("tensor 'a' is F32, got values of F64"));
}

TEST_CASE("where a file cannot be, the message says so") {
  const TemporaryFolder folder;
  const auto check = [&](const std::filesystem::path& path, const std::string& what) {
    const std::string message =
        message_of<moe::FileError>([&] { SafeTensorsWriter writer(path, {}); });
    CHECK_THAT(message, ContainsSubstring(path.string() + ": " + what));
  };
  check(folder / "no" / "x.safetensors", "cannot create the file: No such file");
  check(folder.path(), "is a directory");
  check("/dev/full", "is not a regular file");
  check("", "names no file");
}

TEST_CASE("replacing keeps the permissions, and follows a link") {
  const TemporaryFolder folder;
  const auto target = folder.write("target", "old");
  std::filesystem::permissions(target, std::filesystem::perms::owner_all);
  std::filesystem::create_symlink("target", folder / "link");
  SafeTensorsWriter writer(folder / "link", {});
  writer.finish();
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(file_bytes(target) != "old");
  CHECK(std::filesystem::status(target).permissions() == std::filesystem::perms::owner_all);
  CHECK(count(folder) == 2);
}

TEST_CASE("a link to a file that is not there yet is followed, and a loop of links is told") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink("sub/second", folder / "first");
  std::filesystem::create_symlink("../target", folder / "sub" / "second");
  SafeTensorsWriter writer(folder / "first", {});
  writer.finish();
  CHECK(std::filesystem::is_symlink(folder / "first"));
  CHECK(std::filesystem::is_symlink(folder / "sub" / "second"));
  CHECK(std::filesystem::is_regular_file(folder / "target"));

  std::filesystem::create_symlink("loop", folder / "loop");
  CHECK_THROWS_WITH(SafeTensorsWriter(folder / "loop", {}),
                    ContainsSubstring((folder / "loop").string() + ": cannot follow the link: "));
  CHECK(count(folder) == 4);
}
