// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Register tiles: R rows times P panels, one unbroken FMA chain per output. Included inside a
// region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

/// Walks over the lines of up to two prefetches, a few at a time: requests spread between the products
/// cost nothing, a burst of them would fill the queues of the caches.
struct PrefetchCursor {
  const Prefetch* next;
  const char* row = nullptr;
  Index rows_left = 0, column = 0;

  static Index lines(const Prefetch& p) {
    return p.data == nullptr ? 0 : p.rows * ((p.bytes + 63) / 64);
  }
  explicit PrefetchCursor(const Prefetch (&both)[2]) : next(both) { open(); }
  void open() {
    row = static_cast<const char*>(next->data);
    rows_left = row == nullptr ? 0 : next->rows;
  }
  MOE_ALWAYS_INLINE void advance(Index count) {
    for (; count > 0 && rows_left > 0; --count) {
      __builtin_prefetch(row + column, 0, 2);
      column += 64;
      if (column < next->bytes) continue;
      column = 0;
      row += next->stride;
      --rows_left;
    }
  }
};

/// R token rows against P weight panels. A panel's two halves are covered W lanes at a time, so a
/// tile holds R * 2P accumulators; they are indexed by constants only and stay in registers.
template <class F, int R, int P>
struct Tile {
  using T = typename F::T;
  using V = typename F::V;
  static constexpr int kVectors = 2 * P;

  template <std::size_t... I>
  static MOE_ALWAYS_INLINE void row_step(V* acc, V a, const V* b, std::index_sequence<I...>) {
    ((acc[I] = F::fma(a, b[I], acc[I])), ...);
  }
  template <std::size_t... I>
  static MOE_ALWAYS_INLINE void load_b(V* b, const T* p, Index stride, std::index_sequence<I...>) {
    ((b[I] =
          F::load(p + static_cast<Index>(I / 2) * stride + static_cast<Index>(I % 2) * kHalf<T>)),
     ...);
  }
  /// acc[r][i] += a[r] * b[i]: one k.
  template <std::size_t... Row>
  static MOE_ALWAYS_INLINE void step(V (&acc)[R][kVectors], const T* a, const T* b, Index stride,
                                     std::index_sequence<Row...>) {
    V b_k[kVectors];
    load_b(b_k, b, stride, std::make_index_sequence<kVectors>());
    (row_step(acc[Row], F::broadcast(a + Row), b_k, std::make_index_sequence<kVectors>()), ...);
  }
  template <std::size_t... I>
  static MOE_ALWAYS_INLINE void load_row(V* acc, const T* c, bool first,
                                         std::index_sequence<I...>) {
    ((acc[I] = first ? F::zero() : F::load(c + static_cast<Index>(I) * kHalf<T>)), ...);
  }
  template <std::size_t... I>
  static MOE_ALWAYS_INLINE void store_row(const V* acc, T* c, std::index_sequence<I...>) {
    (F::store(c + static_cast<Index>(I) * kHalf<T>, acc[I]), ...);
  }
  template <std::size_t... Row>
  static MOE_ALWAYS_INLINE void load_c(V (&acc)[R][kVectors], const T* c, Index ldc, bool first,
                                       std::index_sequence<Row...>) {
    (load_row(acc[Row], c + static_cast<Index>(Row) * ldc, first,
              std::make_index_sequence<kVectors>()),
     ...);
  }
  template <std::size_t... Row>
  static MOE_ALWAYS_INLINE void store_c(V (&acc)[R][kVectors], T* c, Index ldc,
                                        std::index_sequence<Row...>) {
    (store_row(acc[Row], c + static_cast<Index>(Row) * ldc, std::make_index_sequence<kVectors>()),
     ...);
  }

  /// a [kc][R]; panel p of b at b + p * stride, [kc][kLanes]. Every 16 k, `lines` lines of `next`.
  static MOE_NOINLINE void run(const T* a, const T* b, Index stride, Index kc, T* c, Index ldc,
                               bool first, PrefetchCursor& next, Index lines) noexcept {
    constexpr auto rows = std::make_index_sequence<R>();
    for (Index sub = 0; sub < kHalf<T>; sub += F::W) {
      V acc[R][kVectors];
      load_c(acc, c + sub, ldc, first, rows);
      const T* ak = a;
      const T* bk = b + sub;
      for (Index left = kc; left > 0; left -= 16) {
        if constexpr (P == 1) next.advance(lines);
        for (Index k = left < 16 ? left : 16; k > 0; --k, ak += R, bk += kLanes<T>) {
          step(acc, ak, bk, stride, rows);
        }
      }
      store_c(acc, c + sub, ldc, rows);
    }
  }
};

template <class T>
using TileFn = void (*)(const T*, const T*, Index, Index, T*, Index, bool, PrefetchCursor&,
                        Index) noexcept;

/// Tiles of 1 to kMr rows against one panel.
template <class F>
struct TileSet {
  using T = typename F::T;
  template <std::size_t... R>
  static TileFn<T> select(Index rows, std::index_sequence<R...>) {
    static constexpr TileFn<T> kTiles[] = {&Tile<F, static_cast<int>(R) + 1, 1>::run...};
    return kTiles[rows - 1];
  }
  static TileFn<T> one_panel(Index rows) {
    return select(rows, std::make_index_sequence<static_cast<std::size_t>(F::kMr)>());
  }
  /// Several panels at once where one would leave the FMA units waiting for its few chains.
  static TileFn<T> several_panels(Index rows, Index& panels) {
    if constexpr (F::W > 1) {
      if (rows == 1) {
        panels = panels >= 4 ? 4 : panels >= 2 ? 2 : 1;
        if (panels == 4) return &Tile<F, 1, 4>::run;
        if (panels == 2) return &Tile<F, 1, 2>::run;
        return one_panel(1);
      }
      if (rows <= 3 && panels >= 2) {
        panels = 2;
        return rows == 2 ? &Tile<F, 2, 2>::run : &Tile<F, 3, 2>::run;
      }
    }
    panels = 1;
    return one_panel(rows);
  }
};

template <class F>
void multiply_tiles(const TileArgs<typename F::T>& g) {
  using T = typename F::T;
  const Index count = (g.rows + F::kMr - 1) / F::kMr;
  const Index small = g.rows / count;  // balanced: `large` tiles of small + 1 rows, then the rest
  const Index large = g.rows % count;
  PrefetchCursor next(g.next);
  const Index total = PrefetchCursor::lines(g.next[0]) + PrefetchCursor::lines(g.next[1]);
  const Index stops = count * g.panels * (kHalf<T> / F::W) * ((g.kc + 15) / 16);
  const Index lines = total == 0 ? 0 : total / stops + 1;
  for (Index p = 0; p < g.panels;) {
    Index width = g.panels - p;
    const T* b = g.b + p * g.b_stride;
    Index row = 0;
    for (Index i = 0; i < count; ++i) {
      const Index rows = small + (i < large ? 1 : 0);
      const TileFn<T> tile =
          count == 1 ? TileSet<F>::several_panels(rows, width) : TileSet<F>::one_panel(rows);
      tile(g.a + row * g.a_depth + g.k0 * rows, b, g.b_stride, g.kc,
           g.c + row * g.ldc + p * kLanes<T>, g.ldc, g.first, next, lines);
      if (next.rows_left == 0 && next.next == g.next) {
        ++next.next;
        next.open();
      }
      row += rows;
    }
    p += count == 1 ? width : 1;
  }
}

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
