// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The configuration of what stands in moe/block: attention, norms, residuals, blocks and their stacks.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "moe/io/config/experts.hpp"

MOE_NAMESPACE_BEGIN

template <class S>
class Attention;
template <class S, class RouterType, class GateType>
class AttentionMoe;
template <class S, bool IsCentered>
class RowNorm;
template <class S, class ExpertType>
class FfnLayer;
template <class S, class LayerType, class NormType>
class Residual;
template <class S, class FfnType, class AttentionType, class NormType>
class TransformerBlock;
template <class S, class FfnType, class NormType>
class TransformerExpert;
template <class S, class Dense, class Sparse>
class BlockStack;

namespace detail {

template <class Config>
struct AttentionFields {
  Config c{};

  template <class F>
  void visit(F&& f) {
    f("model_dim", c.model_dim);
    f("num_heads", c.num_heads);
    f("num_kv_heads", c.num_kv_heads);
    f("head_dim", c.head_dim);
    f("causal", c.causal);
    f("bias", c.bias);
    f("rotary", c.rotary);
  }
};

template <class S>
struct Blueprint<Attention<S>> {
  using L = Attention<S>;
  using Fields = AttentionFields<typename L::Config>;

  static Json describe(const L& layer) { return fields_to_json(Fields{layer.config()}); }
  static L make(Section& at) {
    const typename L::Config c = at.read_options<Fields>().c;
    const Index queries = times(c.num_heads, c.head_dim), keys = times(c.num_kv_heads, c.head_dim);
    at.expect("w_q", {queries, c.model_dim});
    at.expect("w_k", {keys, c.model_dim});
    return L(c);
  }
};

template <class Config>
struct AttentionMoeFields {
  Config c{};

  template <class F>
  void visit(F&& f) {
    f("model_dim", c.model_dim);
    f("num_experts", c.num_experts);
    f("top_k", c.top_k);
    f("head_dim", c.head_dim);
    f("heads_per_expert", c.heads_per_expert);
    f("causal", c.causal);
    f("rotary", c.rotary);
    f("router", c.router);
    f("gate", c.gate);
    f("capacity", c.capacity);
  }
};

/// Made of its Config, so of a router that is no more than its options.
template <class S, class R, class G>
requires requires(Section& at) {
  Blueprint<R>::options(at);
  Blueprint<G>::options(at);
}
struct Blueprint<AttentionMoe<S, R, G>> {
  using L = AttentionMoe<S, R, G>;
  using Fields = AttentionMoeFields<typename L::Config>;

  static Json describe(const L& layer) {
    typename L::Config now = layer.config();
    now.router = options_behind(layer.router());
    now.gate = options_behind(layer.gate());
    return fields_to_json(Fields{std::move(now)});
  }
  static L make(Section& at) {
    const typename L::Config c = at.read_options<Fields>().c;
    at.check_size("num_experts", c.num_experts);
    const Index width = times(c.heads_per_expert, c.head_dim);
    at.expect("w_k", {width, c.model_dim});
    for (Index e = 0; e < c.num_experts; ++e) {
      at.expect("experts." + std::to_string(e) + ".w_q", {width, c.model_dim});
    }
    at.dims = c.dims();
    at.part<R>("router", "router.");  // for its checks; it is small
    return L(c);
  }
};

template <class S, bool IsCentered>
struct Blueprint<RowNorm<S, IsCentered>> {
  using X = RowNorm<S, IsCentered>;

  static Json describe(const X& x) {
    return {{"epsilon", field_to_json(x.epsilon())}, {"bias", !x.bias.empty()}};
  }
  static X make(Section& at) {
    typename X::Options options;
    at.read("epsilon", options.epsilon);
    at.read("bias", options.bias);
    at.expect("gain", {1, at.dims.model_dim});
    return X(at.dims.model_dim, options);
  }
};

template <class S, class E>
requires HasBlueprint<E>
struct Blueprint<FfnLayer<S, E>> {
  using L = FfnLayer<S, E>;

  static Json describe(const L& layer) {
    return {{"model_dim", layer.model_dim()}, {"expert", detail::describe(layer.expert())}};
  }
  static L make(Section& at) {
    at.dims = {at.size("model_dim"), 0, 1, 1};
    return L(at.dims.model_dim, at.part<E>("expert", ""));
  }
};

template <class S, class Inner, class Norm>
requires(HasBlueprint<Inner>&& HasBlueprint<Norm>) struct Blueprint<Residual<S, Inner, Norm>> {
  using L = Residual<S, Inner, Norm>;

  static Json describe(const L& layer) {
    return {{"norm", detail::describe(layer.norm())}, {"layer", detail::describe(layer.layer())}};
  }
  static L make(Section& at) {
    Inner inner = at.part<Inner>("layer", "layer.");
    at.dims = {inner.model_dim(), 0, 1, 1};
    return L(at.part<Norm>("norm", "norm."), std::move(inner));
  }
};

template <class S, class Ffn, class Mixer, class Norm>
requires(HasBlueprint<Ffn>&& HasBlueprint<Mixer>&&
             HasBlueprint<Norm>) struct Blueprint<TransformerBlock<S, Ffn, Mixer, Norm>> {
  using L = TransformerBlock<S, Ffn, Mixer, Norm>;
  using MixerPart = typename L::AttentionPart;
  using FfnPart = typename L::FfnPart;

  static Json describe(const L& block) {
    return {{"attention", detail::describe(block.attention_part())},
            {"ffn", detail::describe(block.ffn_part())}};
  }
  static L make(Section& at) {
    MixerPart mixer = at.part<MixerPart>("attention", "attention.");
    FfnPart ffn = at.part<FfnPart>("ffn", "ffn.");
    L block(std::move(mixer.layer()), std::move(ffn.layer()));
    block.attention_part().norm() = std::move(mixer.norm());
    block.ffn_part().norm() = std::move(ffn.norm());
    return block;
  }
};

template <class S, class Ffn, class Norm>
requires(HasBlueprint<Ffn>&& HasBlueprint<Norm>) struct Blueprint<TransformerExpert<S, Ffn, Norm>> {
  using X = TransformerExpert<S, Ffn, Norm>;
  using Block = typename X::Block;

  static Json describe(const X& x) { return {{"block", detail::describe(x.block())}}; }
  static X make(Section& at) {
    Block block = at.part<Block>("block", "");
    Random random;
    X x({block.model_dim(), 1, 1, 1}, {.num_heads = 1, .head_dim = 1}, random);  // small
    x.block() = std::move(block);
    return x;
  }
};

template <class S, class Dense, class Sparse>
requires(
    HasBlueprint<Dense>&& HasBlueprint<Sparse>) struct Blueprint<BlockStack<S, Dense, Sparse>> {
  using L = BlockStack<S, Dense, Sparse>;

  static Json describe(const L& stack) {
    const auto& i = stack.interleave();
    const auto list = [](const auto& blocks) {
      return describe_list(
          std::ssize(blocks), [&](Index n) -> const auto& {
            return blocks[static_cast<std::size_t>(n)];
          });
    };
    return {{"blocks", i.blocks},
            {"every", i.every},
            {"dense_first", i.dense_first},
            {"dense", list(stack.dense())},
            {"sparse", list(stack.sparse())}};
  }

  static L make(Section& at) {
    std::remove_cvref_t<decltype(std::declval<const L&>().interleave())> interleave;
    interleave.blocks = at.parts("blocks");
    at.read("every", interleave.every);
    at.read("dense_first", interleave.dense_first);
    check_positive("moe::BlockStack", "every", interleave.every);
    if (interleave.dense_first < 0) interleave.dense_first = -1;  // refused; a sum may not overflow
    std::vector<Index> dense, sparse;                             // their numbers in the stack
    for (Index i = 0; i < interleave.blocks; ++i) {
      (interleave.is_sparse(i) ? sparse : dense).push_back(i);
    }
    const auto make_blocks = [&]<class X>(Type<X>, const char* name, const auto& blocks) {
      return make_list<X>(at, name, std::ssize(blocks), [&](Index i) {
        return "blocks." + std::to_string(blocks[static_cast<std::size_t>(i)]) + ".";
      });
    };
    auto first = make_blocks(Type<Dense>(), "dense", dense);
    auto second = make_blocks(Type<Sparse>(), "sparse", sparse);
    return L(interleave, std::move(first), std::move(second));
  }
};

}  // namespace detail
MOE_NAMESPACE_END
