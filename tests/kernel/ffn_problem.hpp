// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Random grouped FFN problems in exactly sized heap buffers, their textbook solution in double, and
// the kernels run on them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "moe/core/random.hpp"
#include "moe/kernel/ffn.hpp"
#include "moe/kernel/isa.hpp"

namespace moe_test {

using moe::Activation;
using moe::Index;
using moe::MatrixView;

template <class S>
std::vector<S> random_values(Index count, std::uint64_t seed, double scale = 1) {
  moe::Random random(seed, 77);
  std::vector<S> v(static_cast<std::size_t>(count));
  for (S& x : v) x = static_cast<S>(scale * random.uniform(-1, 1));
  return v;
}

/// Uses `isa` while it lives.
class UseIsa {
 public:
  explicit UseIsa(moe::Isa isa) : before_(moe::active_isa()) { moe::set_isa(isa); }
  UseIsa(const UseIsa&) = delete;
  UseIsa& operator=(const UseIsa&) = delete;
  ~UseIsa() { moe::set_isa(before_); }

 private:
  moe::Isa before_;
};

struct Sizes {
  Index t, d, h, e, k;
  Activation activation;
  bool gated, bias;
};

/// One set of weights, or of their gradients.
template <class S>
struct Weights {
  std::vector<std::vector<S>> w_gate, w_in, w_out, b_gate, b_in, b_out;

  template <class T>
  std::vector<moe::FfnPointers<T>> pointers(const Sizes& z) {
    std::vector<moe::FfnPointers<T>> all;
    for (std::size_t e = 0; e < w_in.size(); ++e) {
      all.push_back({z.gated ? w_gate[e].data() : nullptr, w_in[e].data(), w_out[e].data(),
                     z.gated && z.bias ? b_gate[e].data() : nullptr,
                     z.bias ? b_in[e].data() : nullptr, z.bias ? b_out[e].data() : nullptr});
    }
    return all;
  }
  static Weights random(const Sizes& z, std::uint64_t seed) {
    Weights w;
    const double a = 1 / std::sqrt(static_cast<double>(z.d + 1));
    const double b = 1 / std::sqrt(static_cast<double>(z.h + 1));
    for (Index e = 0; e < z.e; ++e) {
      const std::uint64_t s = seed + static_cast<std::uint64_t>(e) * 10;
      w.w_gate.push_back(random_values<S>(z.h * z.d, s + 1, 2 * a));
      w.w_in.push_back(random_values<S>(z.h * z.d, s + 2, 2 * a));
      w.w_out.push_back(random_values<S>(z.d * z.h, s + 3, b));
      w.b_gate.push_back(random_values<S>(z.h, s + 4));
      w.b_in.push_back(random_values<S>(z.h, s + 5));
      w.b_out.push_back(random_values<S>(z.d, s + 6));
    }
    return w;
  }
  template <class U>
  Weights<U> to() const {
    Weights<U> w;
    const auto copy = [](const auto& from, auto& into) {
      for (const auto& v : from) into.emplace_back(v.begin(), v.end());
    };
    copy(w_gate, w.w_gate), copy(w_in, w.w_in), copy(w_out, w.w_out);
    copy(b_gate, w.b_gate), copy(b_in, w.b_in), copy(b_out, w.b_out);
    return w;
  }
};

template <class S>
struct FfnProblem {
  Sizes z;
  std::vector<std::int32_t> offset, token;
  std::vector<S> weight, x;
  Weights<S> w;

  /// Every expert takes a random part of the tokens; some none, one of them all.
  static FfnProblem random(const Sizes& z, std::uint64_t seed) {
    FfnProblem p;
    p.z = z;
    moe::Random random(seed);
    p.offset.push_back(0);
    for (Index e = 0; e < z.e; ++e) {
      const double part = e == 1   ? 0.0
                          : e == 2 ? 1.0
                                   : static_cast<double>(z.k) / static_cast<double>(z.e);
      for (Index t = 0; t < z.t; ++t) {
        if (random.uniform() < part) p.token.push_back(static_cast<std::int32_t>(t));
      }
      p.offset.push_back(static_cast<std::int32_t>(p.token.size()));
    }
    p.weight = random_values<S>(static_cast<Index>(p.token.size()), seed + 1);
    p.x = random_values<S>(z.t * z.d, seed + 2);
    p.w = Weights<S>::random(z, seed + 3);
    return p;
  }
  template <class U>
  FfnProblem<U> to() const {
    return {
        z, offset, token, {weight.begin(), weight.end()}, {x.begin(), x.end()}, w.template to<U>()};
  }
  moe::RowGroups<S> rows() const { return {offset, token, weight}; }
  moe::FfnShape shape() const { return {z.d, z.h, z.activation, z.gated}; }
};

/// What a forward and a backward give.
template <class S>
struct FfnResult {
  std::vector<S> y, dx, dweight;
  Weights<S> grad;
};

inline void activation_f64(Activation a, double z, double& value, double& slope) {
  const double k = std::sqrt(2 / std::acos(-1.0));
  switch (a) {
    case Activation::relu:
      value = std::max(z, 0.0), slope = z > 0 ? 1 : 0;
      return;
    case Activation::gelu:
      value = z / 2 * std::erfc(-z / std::sqrt(2.0));
      slope = std::erfc(-z / std::sqrt(2.0)) / 2 + z * k / 2 * std::exp(-z * z / 2);
      return;
    case Activation::gelu_tanh: {
      const double t = std::tanh(k * (z + 0.044715 * z * z * z));
      value = z / 2 * (1 + t);
      slope = (1 + t) / 2 + z / 2 * (1 - t * t) * k * (1 + 3 * 0.044715 * z * z);
      return;
    }
    case Activation::silu:
      value = z / (1 + std::exp(-z));
      slope = 1 / (1 + std::exp(-z)) + z * std::exp(-z) / std::pow(1 + std::exp(-z), 2);
      return;
    case Activation::relu_squared:
      value = z > 0 ? z * z : 0, slope = z > 0 ? 2 * z : 0;
      return;
    case Activation::identity:
    case Activation::clamped_swiglu:  // of two arguments: clamped_test.cpp
      value = z, slope = 1;
      return;
  }
}

/// The textbook loop.
inline FfnResult<double> solve_naively(FfnProblem<double>& p, const std::vector<double>& dy) {
  const Sizes& z = p.z;
  const auto at = [](Index i) { return static_cast<std::size_t>(i); };
  FfnResult<double> r{std::vector<double>(p.x.size()), std::vector<double>(p.x.size()),
                      std::vector<double>(p.token.size()), p.w};
  for (auto* m :
       {&r.grad.w_gate, &r.grad.w_in, &r.grad.w_out, &r.grad.b_gate, &r.grad.b_in, &r.grad.b_out}) {
    for (auto& v : *m) std::fill(v.begin(), v.end(), 0.0);
  }
  for (Index e = 0; e < z.e; ++e) {
    const auto i = at(e);
    for (Index s = p.offset[i]; s < p.offset[i + 1]; ++s) {
      const double* x = p.x.data() + p.token[at(s)] * z.d;
      double* y = r.y.data() + p.token[at(s)] * z.d;
      double* dx = r.dx.data() + p.token[at(s)] * z.d;
      const double* out = dy.data() + p.token[at(s)] * z.d;
      const double weight = p.weight[at(s)];
      for (Index c = 0; c < z.d; ++c) {
        if (!z.bias) break;
        y[c] += weight * p.w.b_out[i][at(c)];
        r.grad.b_out[i][at(c)] += weight * out[c];
        r.dweight[at(s)] += out[c] * p.w.b_out[i][at(c)];
      }
      for (Index j = 0; j < z.h; ++j) {
        double in = z.bias ? p.w.b_in[i][at(j)] : 0, gate = z.bias ? p.w.b_gate[i][at(j)] : 0;
        for (Index c = 0; c < z.d; ++c) {
          in += x[c] * p.w.w_in[i][at(j * z.d + c)];
          gate += x[c] * p.w.w_gate[i][at(j * z.d + c)];
        }
        double value, slope;
        activation_f64(z.activation, z.gated ? gate : in, value, slope);
        const double a = z.gated ? value * in : value;
        double da = 0;
        for (Index c = 0; c < z.d; ++c) {
          y[c] += weight * a * p.w.w_out[i][at(c * z.h + j)];
          da += out[c] * p.w.w_out[i][at(c * z.h + j)];
          r.grad.w_out[i][at(c * z.h + j)] += weight * a * out[c];
        }
        r.dweight[at(s)] += da * a;
        da *= weight;
        const double din = z.gated ? da * value : da * slope, dgate = z.gated ? da * in * slope : 0;
        r.grad.b_in[i][at(j)] += din;
        r.grad.b_gate[i][at(j)] += dgate;
        for (Index c = 0; c < z.d; ++c) {
          r.grad.w_in[i][at(j * z.d + c)] += din * x[c];
          r.grad.w_gate[i][at(j * z.d + c)] += dgate * x[c];
          dx[c] += din * p.w.w_in[i][at(j * z.d + c)] + dgate * p.w.w_gate[i][at(j * z.d + c)];
        }
      }
    }
  }
  return r;
}

template <class S>
std::vector<S> run_forward(FfnProblem<S>& p, moe::ExecutorRef executor = {},
                           moe::FfnSaved<S>* saved = nullptr) {
  // y starts as a mark: forward must write all of it.
  std::vector<S> y(p.x.size(), static_cast<S>(std::nan("")));
  moe::FfnScratch<S> scratch;
  const auto pointers = p.w.template pointers<const S>(p.z);
  moe::ffn_forward<S>(p.shape(), p.rows(), pointers, MatrixView<const S>(p.x.data(), p.z.t, p.z.d),
                      MatrixView<S>(y.data(), p.z.t, p.z.d), scratch, saved, executor);
  return y;
}

/// Forward with saving, then backward, every gradient starting at zero.
template <class S>
FfnResult<S> run_both(FfnProblem<S>& p, const std::vector<S>& dy, moe::ExecutorRef executor = {}) {
  FfnResult<S> r;
  moe::FfnSaved<S> saved;
  r.y = run_forward(p, executor, &saved);
  r.dx.assign(p.x.size(), 0);
  r.dweight.assign(p.token.size(), static_cast<S>(std::nan("")));
  r.grad = p.w;
  for (auto* m :
       {&r.grad.w_gate, &r.grad.w_in, &r.grad.w_out, &r.grad.b_gate, &r.grad.b_in, &r.grad.b_out}) {
    for (auto& v : *m) std::fill(v.begin(), v.end(), S(0));
  }
  moe::FfnScratch<S> scratch;
  const auto pointers = p.w.template pointers<const S>(p.z);
  const auto grads = r.grad.template pointers<S>(p.z);
  moe::ffn_backward<S>(p.shape(), p.rows(), pointers, MatrixView<const S>(p.x.data(), p.z.t, p.z.d),
                       saved, MatrixView<const S>(dy.data(), p.z.t, p.z.d),
                       MatrixView<S>(r.dx.data(), p.z.t, p.z.d), grads, r.dweight, scratch,
                       executor);
  return r;
}

/// max |a - b| / max(1, max |b|).
template <class S>
double distance(const std::vector<S>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0, scale = 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double gap = std::abs(static_cast<double>(a[i]) - b[i]);
    worst = gap <= worst ? worst : gap;  // a NaN gap is kept
    scale = std::max(scale, std::abs(b[i]));
  }
  return worst / scale;
}

}  // namespace moe_test
