// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Register tiles: R rows times P panels, one unbroken FMA chain per output. Included inside a
// region.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

/// What a tile asks for while it multiplies: from its `turn`-th share of Ahead on, two lines each
/// `every` k. Requests spread among the products cost nothing, a burst of them fills the queues of the
/// caches.
struct AheadPart {
  Ahead ahead;
  Index every = 0;  ///< of how many passes each takes a share; 0: nothing to ask for
  Index share = 0;  ///< requests per pass
  Index turn = 0;
};

/// The requests of one pass over a panel of kc k. kRun: those before Ahead jumps.
template <Index kRun>
class Requests {
 public:
  MOE_ALWAYS_INLINE Requests(const AheadPart& part, Index pass, Index kc)
      : step_(static_cast<std::uintptr_t>(part.ahead.step)),
        jump_(static_cast<std::uintptr_t>(part.ahead.jump)) {
    const bool any = part.turn + pass < part.every;
    every = any ? part.every : kc;
    const auto first = static_cast<std::uintptr_t>(any ? (part.turn + pass) * part.share : 0);
    left_ = kRun - static_cast<Index>(first % kRun);
    for (int i = 0; i < 2; ++i) {
      // A pass without a turn asks for a line that is there.
      start_[i] =
          any ? part.ahead.half[i] + first / kRun * jump_ : reinterpret_cast<std::uintptr_t>(&part);
      line_[i] = start_[i] + first % kRun * step_;
    }
  }
  std::uintptr_t next_line(int half) const { return line_[half]; }
  MOE_ALWAYS_INLINE void ask() {
    for (std::uintptr_t& line : line_) {
      __builtin_prefetch(reinterpret_cast<const void*>(line), 0, 2);
      line += step_;
    }
    if (--left_ > 0) return;
    left_ = kRun;
    for (int i = 0; i < 2; ++i) line_[i] = start_[i] += jump_;
  }
  Index every;

 private:
  std::uintptr_t step_, jump_, start_[2], line_[2];
  Index left_;
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

  /// a [kc][R]; panel p of b at b + p * stride, [kc][kLanes].
  static MOE_NOINLINE void run(const T* a, const T* b, Index stride, Index kc, T* c, Index ldc,
                               bool first, const AheadPart& ahead) noexcept {
    constexpr auto rows = std::make_index_sequence<R>();
    for (Index sub = 0; sub < kHalf<T>; sub += F::W) {
      V acc[R][kVectors];
      load_c(acc, c + sub, ldc, first, rows);
      const T* ak = a;
      const T* bk = b + sub;
      Requests<kHalf<T>> requests(ahead, sub / F::W, kc);
      for (Index left = kc; left > 0; left -= requests.every) {
        requests.ask();
        Index k = left < requests.every ? left : requests.every;
        for (; k > 0; --k, ak += R, bk += kLanes<T>) step(acc, ak, bk, stride, rows);
      }
      store_c(acc, c + sub, ldc, rows);
    }
  }
};

template <class T>
using TileFn = void (*)(const T*, const T*, Index, Index, T*, Index, bool,
                        const AheadPart&) noexcept;

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

/// Among how many passes the requests are divided; 0: none are made. A single tile asks for its own
/// weights. With vectors of half a panel and from six rows on its arithmetic takes about as long as their
/// way from memory, and its loads, too far apart for the core to see enough of them, do not keep memory
/// busy. With fewer rows, and with narrower vectors, whose tiles have no more, the hardware does better
/// alone.
template <class F>
Index part_count(const TileArgs<typename F::T>& g, Index tiles) {
  constexpr Index kFewestRows = 6, kPasses = kHalf<typename F::T> / F::W;
  if (g.next.half[0] == 0) return 0;
  if (tiles > 1) return tiles * kPasses;
  return kPasses == 1 && g.rows >= kFewestRows ? 1 : 0;
}

template <class F>
void multiply_tiles(const TileArgs<typename F::T>& g) {
  using T = typename F::T;
  const Index count = (g.rows + F::kMr - 1) / F::kMr;
  const Index small = g.rows / count;  // balanced: `large` tiles of small + 1 rows, then the rest
  const Index large = g.rows % count;
  constexpr Index kPasses = kHalf<T> / F::W;
  AheadPart part{g.next, part_count<F>(g, count), 0, 0};
  if (part.every > 0) part.share = (g.kc + part.every - 1) / part.every;
  const Index together = kPasses > 1 ? g.panels : g.together;  // narrow vectors wait for chains
  for (Index p = 0; p < g.panels;) {
    Index width = g.panels - p < together ? g.panels - p : together;
    const T* b = g.b + p * g.b_stride;
    Index row = 0;
    for (Index i = 0; i < count; ++i) {
      const Index rows = small + (i < large ? 1 : 0);
      const TileFn<T> tile =
          count == 1 ? TileSet<F>::several_panels(rows, width) : TileSet<F>::one_panel(rows);
      part.turn = i * kPasses;
      tile(g.a + row * g.a_depth + g.k0 * rows, b, g.b_stride, g.kc,
           g.c + row * g.ldc + p * kLanes<T>, g.ldc, g.first, part);
      row += rows;
    }
    const Index done = count == 1 ? width : 1;
    p += done;
    for (std::uintptr_t& half : part.ahead.half) {
      half += static_cast<std::uintptr_t>(done * g.b_stride) * sizeof(T);
    }
  }
}

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
