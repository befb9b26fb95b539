// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Files in and out; not part of moe/moe.hpp, as it needs nlohmann_json (CMake: moe::io).
#pragma once

// bytes of a file <-> named tensors
#include "moe/io/safetensors.hpp"
#include "moe/io/safetensors_writer.hpp"

// layers, optimizers, whole runs <-> a file, bit for bit
#include "moe/io/layer_file.hpp"
#include "moe/io/saved_state.hpp"
