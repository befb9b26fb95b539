// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The configuration of layers in moe/layer: sizes, options, and what each of their parts says.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "moe/io/config/experts.hpp"
#include "moe/plan/capacity.hpp"

MOE_NAMESPACE_BEGIN

template <class S, class RouterType, class GateType, class ExpertType>
class MoeLayer;
template <class S, class RouterType, class GateType, class ExpertType>
class ConcatLayer;
template <class S, class RouterType, class GateType, class ExpertType>
class LatentLayer;
template <class S, class RouterType, class ExpertType>
class DenseLayer;
template <class S, class ExpertType>
class SoftLayer;
template <class S>
class SoftScores;
template <class S, class GroupType, class RouterType, class GateType>
class HierarchicalLayer;
template <class LayerType, class ExpertType>
class SharedLayer;

namespace detail {

// --- layers of router, gate and experts ---

template <class L>
Json describe_experts(const L& layer) {
  return {{"model_dim", layer.model_dim()},
          {"num_experts", layer.num_experts()},
          {"experts",
           describe_list(
               layer.num_experts(), [&](Index e) -> const auto& { return layer.expert(e); })}};
}

/// Sizes and experts, `width` columns wide or else model_dim; sets at.dims.
template <class E>
std::vector<E> make_experts(Section& at, Index width = 0) {
  Dims& dims = at.dims;
  dims = {at.size("model_dim"), 0, at.parts("num_experts"), 0};
  const Index model_dim = std::exchange(dims.model_dim, width == 0 ? dims.model_dim : width);
  std::vector<E> experts = make_list<E>(at, "experts", dims.num_experts, [](Index e) {
    return "experts." + std::to_string(e) + ".";
  });
  dims.model_dim = model_dim;
  dims.hidden_dim = 1;  // for routers of yours, to whom it is given
  if constexpr (HasShape<E>) {
    if (!experts.empty()) dims.hidden_dim = experts.front().shape().hidden_dim;
  }
  return experts;
}

template <class L>
Json describe_routed(const L& layer) {
  Json about = describe_experts(layer);
  about["top_k"] = layer.top_k();
  about["router"] = describe(layer.router());
  about["gate"] = describe(layer.gate());
  if constexpr (requires { layer.capacity(); })
    about["capacity"] = fields_to_json(layer.capacity());
  return about;
}

template <class R, class G, class E>
struct ReadParts {
  std::vector<E> experts;
  R router;
  G gate;
  CapacityOptions capacity;

  explicit ReadParts(Section& at, Index width = 0)
      : experts(make_experts<E>(at, width)),
        router(make_router(at)),
        gate(at.part<G>("gate", "gate.")) {
    at.read("capacity", capacity);
  }

 private:
  static R make_router(Section& at) {
    at.dims.top_k = at.size("top_k");
    return at.part<R>("router", "router.");
  }
};

/// Of a layer that is no more than its parts.
template <class L, class R, class G, class E>
struct RoutedBlueprint {
  static Json describe(const L& layer) { return describe_routed(layer); }
  static L make(Section& at) {
    ReadParts<R, G, E> p(at);
    return L(std::move(p.router), std::move(p.gate), std::move(p.experts), std::move(p.capacity));
  }
};

template <class S, class R, class G, class E>
requires(HasBlueprint<R>&& HasBlueprint<G>&& HasBlueprint<E>) struct Blueprint<MoeLayer<S, R, G, E>>
    : RoutedBlueprint<MoeLayer<S, R, G, E>, R, G, E> {
};

template <class S, class R, class G, class E>
requires(
    HasBlueprint<R>&& HasBlueprint<G>&& HasBlueprint<E>) struct Blueprint<ConcatLayer<S, R, G, E>>
    : RoutedBlueprint<ConcatLayer<S, R, G, E>, R, G, E> {
};

template <class S, class R, class G, class E>
requires(
    HasBlueprint<R>&& HasBlueprint<G>&& HasBlueprint<E>) struct Blueprint<LatentLayer<S, R, G, E>> {
  using L = LatentLayer<S, R, G, E>;
  static Json describe(const L& layer) {
    Json about = describe_routed(layer);
    about["latent_dim"] = layer.latent_dim();
    return about;
  }
  static L make(Section& at) {
    const Index l = at.size("latent_dim"), d = at.size("model_dim");
    check_positive("moe::LatentLayer", "latent_dim", l);
    Parameter<S> down = at.parameter<S>("down.weight", l, d),
                 up = at.parameter<S>("up.weight", d, l);
    ReadParts<R, G, E> p(at, l);
    return L(std::move(p.router), std::move(p.gate), std::move(down), std::move(up),
             std::move(p.experts), std::move(p.capacity));
  }
};

template <class S, class R, class E>
requires(HasBlueprint<R>&& HasBlueprint<E>) struct Blueprint<DenseLayer<S, R, E>> {
  using L = DenseLayer<S, R, E>;
  using G = std::remove_cvref_t<decltype(std::declval<const L&>().gate())>;
  static Json describe(const L& layer) { return describe_routed(layer); }
  static L make(Section& at) {
    ReadParts<R, G, E> p(at);
    return L(std::move(p.router), std::move(p.gate), std::move(p.experts));
  }
};

// --- others ---

template <class S, class E>
requires HasBlueprint<E>
struct Blueprint<SoftLayer<S, E>> {
  using L = SoftLayer<S, E>;

  static Json describe(const L& layer) {
    Json about = describe_experts(layer);
    about["slots"] = layer.slots();
    about["normalization"] = field_to_json(layer.scores().normalization());
    about["noise_stddev"] = field_to_json(layer.noise_stddev());
    return about;
  }

  static L make(Section& at) {
    typename L::Config config;
    const Index slots = at.size("slots");
    at.read("normalization", config.normalization);
    at.read("noise_stddev", config.noise_stddev);
    std::vector<E> experts = make_experts<E>(at);
    const Index rows = times(at.dims.num_experts, slots);
    SoftScores<S> scores(at.parameter<S>("phi", rows, at.dims.model_dim).value,
                         config.normalization);
    return L(std::move(scores), std::move(experts), config.noise_stddev);
  }
};

template <class S, class Group, class R, class G>
requires(HasBlueprint<R>&& HasBlueprint<G>&&
             HasBlueprint<Group>) struct Blueprint<HierarchicalLayer<S, Group, R, G>> {
  using L = HierarchicalLayer<S, Group, R, G>;

  static Json describe(const L& layer) {
    return {{"model_dim", layer.model_dim()},
            {"num_groups", layer.num_groups()},
            {"top_k", layer.top_k()},
            {"router", detail::describe(layer.router())},
            {"gate", detail::describe(layer.gate())},
            {"capacity", fields_to_json(layer.capacity())},
            {"groups",
             describe_list(
                 layer.num_groups(), [&](Index g) -> const auto& { return layer.group(g); })}};
  }

  static L make(Section& at) {
    at.dims = {at.size("model_dim"), 1, at.parts("num_groups"), at.size("top_k")};
    std::vector<Group> groups = make_list<Group>(at, "groups", at.dims.num_experts, [](Index g) {
      return "groups." + std::to_string(g) + ".";
    });
    R router = at.part<R>("router", "router.");
    G gate = at.part<G>("gate", "gate.");
    CapacityOptions capacity;
    at.read("capacity", capacity);
    return L(std::move(router), std::move(gate), std::move(groups), std::move(capacity));
  }
};

template <class Inner, class E>
requires(HasBlueprint<Inner>&& HasBlueprint<E>) struct Blueprint<SharedLayer<Inner, E>> {
  using L = SharedLayer<Inner, E>;

  static Json describe(const L& layer) {
    return {{"layer", detail::describe(layer.layer())},
            {"shared_expert", detail::describe(layer.shared_expert())},
            {"gate", !layer.shared_gate().empty()}};
  }

  static L make(Section& at) {
    Inner layer = at.part<Inner>("layer", "");
    at.dims = {layer.model_dim(), 0, 1, 1};
    E shared = at.part<E>("shared_expert", "shared_expert.");
    bool has_gate = false;
    at.read("gate", has_gate);
    Parameter<typename L::Scalar> gate;
    if (has_gate) {
      gate = at.parameter<typename L::Scalar>("shared_gate.weight", 1, layer.model_dim());
    }
    return L(std::move(layer), std::move(shared), std::move(gate));
  }
};

}  // namespace detail
MOE_NAMESPACE_END
