// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Rows of tokens <-> rows of slots: combine and spread. Included inside a target region.
//
// Both are bound by memory. Each row of a token is read once and each result written once, sums rest
// in registers. Vectors are aligned, for one that straddles cache lines costs two accesses. What the
// cache cannot hold is written past it, while the rows of a later token are fetched.

MOE_NAMESPACE_BEGIN
namespace detail::MOE_ISA {

/// Rows of one token that are worked on together; a token with more takes several turns.
inline constexpr Index kSlotsAtOnce = 16;
/// Tokens from the one at work to the one whose rows are fetched.
inline constexpr Index kTokensAhead = 2;
/// Vectors of a row that are worked on together.
inline constexpr int kSpan = 8;

/// The lowest of slot[0..k) above `last`, ascending, to `found`; returns how many.
inline Index next_slots(const std::int32_t* slot, Index k, std::int32_t last, std::int32_t* found) {
  Index n = 0;
  for (Index j = 0; j < k; ++j) {
    const std::int32_t s = slot[j];
    if (s <= last || (n == kSlotsAtOnce && s > found[n - 1])) continue;
    Index at = n < kSlotsAtOnce ? n++ : n - 1;
    for (; at > 0 && found[at - 1] > s; --at) found[at] = found[at - 1];
    found[at] = s;
  }
  return n;
}

/// Values before the next vector border, at most n; 0 when no value of the row starts at one.
template <class F>
MOE_ALWAYS_INLINE Index values_to_border(const typename F::T* p, Index n) {
  using T = typename F::T;
  const auto past = static_cast<Index>(reinterpret_cast<std::uintptr_t>(p) % (F::W * sizeof(T)));
  if (past % static_cast<Index>(sizeof(T)) != 0) return 0;
  const Index left = past == 0 ? 0 : F::W - past / static_cast<Index>(sizeof(T));
  return left < n ? left : n;
}

/// True when spans of a row whose first `head` values are left out may be written past the cache.
template <class F>
MOE_ALWAYS_INLINE bool at_border(const typename F::T* p, Index head) {
  return reinterpret_cast<std::uintptr_t>(p + head) % (F::W * sizeof(typename F::T)) == 0;
}

/// Stores n lanes, a whole vector past the cache if asked; p is then at a vector's border.
template <class F>
MOE_ALWAYS_INLINE void store_slots(typename F::T* p, typename F::V x, Index n, bool past_cache) {
  if constexpr (requires { F::stream(p, x); }) {
    if (past_cache && n >= F::W) return F::stream(p, x);
  }
  static_cast<void>(past_cache);
  store_part<F>(p, x, n);
}

/// kSpan vectors side by side, indexed by constants only: they stay in registers.
template <class F, class = std::make_index_sequence<kSpan>>
struct Span;

template <class F, std::size_t... I>
struct Span<F, std::index_sequence<I...>> {
  using T = typename F::T;
  using V = typename F::V;
  static constexpr Index kColumns = static_cast<Index>(sizeof...(I)) * F::W;
  V v[sizeof...(I)];

  MOE_ALWAYS_INLINE void clear() { ((v[I] = F::zero()), ...); }
  MOE_ALWAYS_INLINE void load(const T* p) {
    ((v[I] = F::load(p + static_cast<Index>(I) * F::W)), ...);
  }
  MOE_ALWAYS_INLINE void add_product(V weight, const T* p) {
    ((v[I] = F::fma(weight, F::load(p + static_cast<Index>(I) * F::W), v[I])), ...);
  }
  MOE_ALWAYS_INLINE void store(T* p, bool past_cache) const {
    if constexpr (requires { F::stream(p, v[0]); }) {
      if (past_cache) return ((F::stream(p + static_cast<Index>(I) * F::W, v[I])), ...);
    }
    static_cast<void>(past_cache);
    ((F::store(p + static_cast<Index>(I) * F::W, v[I])), ...);
  }
  MOE_ALWAYS_INLINE void store_product(T* p, V weight, bool past_cache) const {
    Span product;
    ((product.v[I] = F::mul(weight, v[I])), ...);
    product.store(p, past_cache);
  }
};

/// Makes what was written past the cache visible to whoever is told that the kernel has ended.
template <class F>
MOE_ALWAYS_INLINE void end_stream() {
  if constexpr (requires { F::stream_fence(); }) F::stream_fence();
}

/// Columns [col, col + span) of rows that will be needed soon, towards the second-level cache.
template <class T>
MOE_ALWAYS_INLINE void fetch_ahead(const T* const* row, Index rows, Index col, Index span) {
  for (Index j = 0; j < rows; ++j) {
    for (Index i = 0; i < span; i += 64 / static_cast<Index>(sizeof(T))) {
      __builtin_prefetch(row[j] + col + i, 0, 2);
    }
  }
}

/// One token's turn of combine: y = or += sum over j < n of weight[j] * row[j], `cols` values each.
template <class T>
struct CombineTurn {
  Index n;
  const T* row[kSlotsAtOnce];
  T weight[kSlotsAtOnce];
  Index next;  ///< rows to fetch meanwhile
  const T* next_row[kSlotsAtOnce];
  T* y;
  Index cols;
  bool first;   ///< start from zero instead of continuing y
  bool stream;  ///< write past the cache
};

template <class F>
MOE_ALWAYS_INLINE void combine_part(const CombineTurn<typename F::T>& t, Index col, Index n,
                                    bool stream) {
  typename F::V sum = t.first ? F::zero() : load_part<F>(t.y + col, n);
  for (Index j = 0; j < t.n; ++j)
    sum = F::fma(F::set1(t.weight[j]), load_part<F>(t.row[j] + col, n), sum);
  store_slots<F>(t.y + col, sum, n, stream);
}

template <class F>
MOE_ALWAYS_INLINE void combine_span(const CombineTurn<typename F::T>& t, Index col, bool stream) {
  Span<F> sum;
  if (t.first)
    sum.clear();
  else
    sum.load(t.y + col);
  for (Index j = 0; j < t.n; ++j) sum.add_product(F::set1(t.weight[j]), t.row[j] + col);
  sum.store(t.y + col, stream);
}

template <class F>
void combine_turn(const CombineTurn<typename F::T>& t) {
  constexpr Index kColumns = Span<F>::kColumns;
  // Aligned is what there is more of, reads or writes; writes past the cache must be.
  const bool more_reads = !t.stream && t.n > 1;
  Index col = values_to_border<F>(more_reads ? t.row[0] : t.y, t.cols);
  const bool stream = t.stream && at_border<F>(t.y, col);
  if (col > 0) combine_part<F>(t, 0, col, false);
  for (; col + kColumns <= t.cols; col += kColumns) {
    if (stream) fetch_ahead(t.next_row, t.next, col, kColumns);
    combine_span<F>(t, col, stream);
  }
  for (; col < t.cols; col += F::W) combine_part<F>(t, col, t.cols - col, stream);
}

template <class T>
void find_rows_ahead(const CombineArgs<T>& g, Index t, CombineTurn<T>& turn) {
  turn.next = 0;
  for (Index j = 0; t < g.rows && j < g.k && j < kSlotsAtOnce; ++j) {
    const Index s = g.slot[t * g.k + j];
    if (s >= 0) turn.next_row[turn.next++] = g.x + s * g.ldx;
  }
}

template <class F>
void combine(const CombineArgs<typename F::T>& g) {
  using T = typename F::T;
  CombineTurn<T> turn;
  turn.cols = g.cols;
  turn.stream = g.stream;
  for (Index t = 0; t < g.rows; ++t) {
    turn.y = g.y + t * g.ldy;
    turn.first = !g.accumulate;
    if (g.stream) find_rows_ahead(g, t + kTokensAhead, turn);
    std::int32_t slot[kSlotsAtOnce], last = -1;
    do {
      turn.n = next_slots(g.slot + t * g.k, g.k, last, slot);
      for (Index j = 0; j < turn.n; ++j) {
        turn.row[j] = g.x + Index{slot[j]} * g.ldx;
        turn.weight[j] = g.weight != nullptr ? g.weight[slot[j]] : T(1);
      }
      if (turn.n > 0 || turn.first) combine_turn<F>(turn);
      if (turn.n > 0) last = slot[turn.n - 1];
      turn.first = false;
    } while (turn.n == kSlotsAtOnce);
  }
  if (g.stream) end_stream<F>();
}

/// One token's turn of spread: row[j] = weight[j] * x, or x where `scaled` is false.
template <class T>
struct SpreadTurn {
  const T* x;
  Index n;
  T* row[kSlotsAtOnce];
  T weight[kSlotsAtOnce];
  bool scaled;
  const T* with[kSlotsAtOnce];
  T* dot[kSlotsAtOnce];
  Index cols;
  bool stream;
};

template <class F>
MOE_ALWAYS_INLINE void spread_part(const SpreadTurn<typename F::T>& t, Index col, Index n,
                                   bool stream) {
  const typename F::V x = load_part<F>(t.x + col, n);
  for (Index j = 0; j < t.n; ++j) {
    store_slots<F>(t.row[j] + col, t.scaled ? F::mul(F::set1(t.weight[j]), x) : x, n, stream);
  }
}

template <class F>
MOE_ALWAYS_INLINE void spread_span(const SpreadTurn<typename F::T>& t, Index col, bool stream) {
  Span<F> x;
  x.load(t.x + col);
  for (Index j = 0; j < t.n; ++j) {
    if (t.scaled)
      x.store_product(t.row[j] + col, F::set1(t.weight[j]), stream);
    else
      x.store(t.row[j] + col, stream);
  }
}

template <class F>
void spread_turn(const SpreadTurn<typename F::T>& t) {
  constexpr Index kColumns = Span<F>::kColumns;
  Index col = values_to_border<F>(t.row[0], t.cols);
  bool stream = t.stream;
  for (Index j = 0; j < t.n; ++j) stream = stream && at_border<F>(t.row[j], col);
  if (col > 0) spread_part<F>(t, 0, col, false);
  for (; col + kColumns <= t.cols; col += kColumns) spread_span<F>(t, col, stream);
  for (; col < t.cols; col += F::W) spread_part<F>(t, col, t.cols - col, stream);
}

/// *dot[j] = <with[j], x> for R of the rows: as many chains, each in the order of the kernel dot.
template <class F, std::size_t... R>
MOE_ALWAYS_INLINE void dots(const typename F::T* x, const typename F::T* const* with,
                            typename F::T* const* dot, Index cols, std::index_sequence<R...>) {
  using V = typename F::V;
  constexpr Index kVectors = kHalf<typename F::T> / F::W;
  V sum[sizeof...(R)][kVectors];
  for (auto& s : sum)
    for (V& v : s) v = F::zero();
  Index col = 0;
  for (; col + kHalf<typename F::T> <= cols; col += kHalf<typename F::T>) {
    for (Index i = 0; i < kVectors; ++i) {
      const V b = F::load(x + col + i * F::W);
      ((sum[R][i] = F::fma(F::load(with[R] + col + i * F::W), b, sum[R][i])), ...);
    }
  }
  for (Index i = 0; i < kVectors && col < cols; ++i, col += F::W) {
    const V b = load_part<F>(x + col, cols - col);
    ((sum[R][i] = F::fma(load_part<F>(with[R] + col, cols - col), b, sum[R][i])), ...);
  }
  ((*dot[R] = reduce<F>(sum[R])), ...);
}

template <class F>
void spread_dots(const SpreadTurn<typename F::T>& t) {
  for (Index j = 0; j < t.n;) {
    const Index left = t.n - j;
    if (left >= 4) {
      dots<F>(t.x, t.with + j, t.dot + j, t.cols, std::make_index_sequence<4>());
    } else if (left >= 2) {
      dots<F>(t.x, t.with + j, t.dot + j, t.cols, std::make_index_sequence<2>());
    } else {
      dots<F>(t.x, t.with + j, t.dot + j, t.cols, std::make_index_sequence<1>());
    }
    j += left >= 4 ? 4 : left >= 2 ? 2 : 1;
  }
}

template <class F>
void spread(const SpreadArgs<typename F::T>& g) {
  using T = typename F::T;
  SpreadTurn<T> turn;
  turn.cols = g.cols;
  turn.scaled = g.weight != nullptr;
  turn.stream = g.stream;
  for (Index t = 0; t < g.rows; ++t) {
    turn.x = g.x + t * g.ldx;
    for (Index j = 0; j < g.k;) {
      turn.n = 0;
      for (; j < g.k && turn.n < kSlotsAtOnce; ++j) {
        const Index s = g.slot != nullptr ? Index{g.slot[t * g.k + j]} : t;
        if (s < 0) continue;
        turn.row[turn.n] = g.y + s * g.ldy;
        if (g.dot != nullptr) {
          turn.with[turn.n] = g.with + s * g.ldw;
          turn.dot[turn.n] = g.dot + s;
        }
        turn.weight[turn.n++] = turn.scaled ? g.weight[s] : T(1);
      }
      if (turn.n > 0) spread_turn<F>(turn);
      if (g.dot != nullptr) spread_dots<F>(turn);
    }
  }
  if (g.stream) end_stream<F>();
}

}  // namespace detail::MOE_ISA
MOE_NAMESPACE_END
