// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Which of a float8 matrix's values share a scale.
#include "moe/io/checkpoint/stored_weight.hpp"
#include "io/temporary_folder.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "support/catch.hpp"

using moe::Index;

TEST_CASE("a column of scales is one for each row, a row of as many one for each block") {
  const moe_test::TemporaryFolder folder;
  const auto by_row = [&](const std::vector<Index>& shape) {
    const auto path = folder / "model.safetensors";
    {
      moe::SafeTensorsWriter writer(
          path, {{"w", moe::Dtype::f8_e4m3, {2, 256}}, {"w_scale", moe::Dtype::f32, shape}});
      const std::vector<std::byte> values(512), scales(8);
      writer.write("w", values);
      writer.write("w_scale", scales);
      writer.finish();
    }
    const moe::SafeTensors files(path);
    const moe::StoredWeight w =
        moe::WeightFinder(path, {128, 128}).find(files, moe::detail::whole("w", 2, 256));
    CHECK(w.scale_step == (w.by_row ? 1 : 0));
    return w.by_row;
  };
  CHECK(by_row({2, 1}));
  CHECK_FALSE(by_row({1, 2}));
}
