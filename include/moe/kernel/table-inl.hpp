// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// One instruction set's kernel tables. Included last inside a target region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

template <class F>
inline constexpr KernelTable<typename F::T> kTable = {
    .mr = F::kMr,
    .kc = 1024,
    .mc = 192,
    .nc = 8,
    .tiles = &multiply_tiles<F>,
    .tiles_bf16 = nullptr,
    .pack_rows = &pack_rows<F>,
    .pack_k_major = &pack_k_major<F>,
    .activate = &activate<F>,
    .store = &store_rows<F>,
    .activate_backward = &activate_backward<F>,
    .column_sum = &column_sum<F>,
    .dot = &dot<F>,
    .softmax = &softmax<F>,
    .sigmoid = &sigmoid_all<F>,
    .combine = &combine<F>,
    .spread = &spread<F>,
    .to_bf16 = nullptr,
    .widen_bf16 = &widen_bf16<F>,
};

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
