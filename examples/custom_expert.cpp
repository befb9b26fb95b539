// A user's own expert and gate. The layer gives them dispatch, combine, balance losses, optimizers.
#include <cmath>
#include <cstdio>
#include <moe/moe.hpp>

// y = x + (x A^T) B^T: a low-rank correction of the identity, rank R = hidden_dim.
class LowRankExpert {
 public:
  struct State {
    moe::Matrix<float> code;  // x A^T [n, R], kept for backward
  };

  LowRankExpert(const moe::Dims& dims, moe::NoOptions, moe::Random& random)
      : a(dims.hidden_dim, dims.model_dim), b(dims.model_dim, dims.hidden_dim) {
    a.init_uniform(random, dims.model_dim);
    b.init_uniform(random, dims.hidden_dim);
  }

  void forward(moe::MatrixView<const float> in, moe::MatrixView<float> out, State& state) const {
    state.code.noalias() = in.eigen() * a.value.transpose();
    out.eigen() = in.eigen();
    out.eigen().noalias() += state.code * b.value.transpose();
  }

  void backward(moe::MatrixView<const float> in, moe::MatrixView<const float> dout,
                moe::MatrixView<float> din, State& state) {
    const moe::Matrix<float> dcode = dout.eigen() * b.value;
    a.ensure_grad();
    b.ensure_grad();
    a.grad.noalias() += dcode.transpose() * in.eigen();
    b.grad.noalias() += dout.eigen().transpose() * state.code;
    din.eigen() = dout.eigen();
    din.eigen().noalias() += dcode * a.value;
  }

  template <class F>
  void visit_parameters(F&& f) {
    f("a", a);
    f("b", b);
  }

  moe::Parameter<float> a, b;
};

// Top-K by logits; each weight is its own sigmoid, experts do not compete for it.
class SigmoidGate {
 public:
  using State = moe::NoState;

  SigmoidGate(const moe::Dims& dims, moe::NoOptions) : top_k_(dims.top_k) {}
  moe::Index top_k() const { return top_k_; }

  template <class S>
  void forward(moe::MatrixView<const S> logits, moe::Routing<S>& routing, const moe::Batch&,
               State&) const {
    for (moe::Index t = 0; t < logits.rows(); ++t) {
      for (moe::Index e = 0; e < logits.cols(); ++e) {
        routing.scores(t, e) = 1 / (1 + std::exp(-logits(t, e)));
      }
      moe::select_top_k(logits.row(t), logits.cols(), top_k_, routing.expert.row(t));
      for (moe::Index j = 0; j < top_k_; ++j) {
        routing.weight(t, j) = routing.scores(t, routing.expert(t, j));
      }
    }
  }

  // d sigmoid(l) = s (1 - s) dl, through the scores and through the chosen weights.
  template <class S>
  void backward(const moe::Routing<S>& routing, moe::MatrixView<const S> dweight,
                moe::MatrixView<const S> dscores, moe::MatrixView<S> dlogits, State&) const {
    const auto slope = [](S s) { return s * (1 - s); };
    for (moe::Index t = 0; t < routing.tokens(); ++t) {
      for (moe::Index e = 0; e < routing.num_experts(); ++e) {
        dlogits(t, e) += slope(routing.scores(t, e)) * dscores(t, e);
      }
      for (moe::Index j = 0; j < top_k_; ++j) {
        const auto e = routing.expert(t, j);
        if (e != moe::kNoExpert) dlogits(t, e) += slope(routing.weight(t, j)) * dweight(t, j);
      }
    }
  }

 private:
  moe::Index top_k_;
};

int main() {
  using Layer = moe::MoeLayer<float, moe::LinearRouter<float>, SigmoidGate, LowRankExpert>;
  Layer layer({.model_dim = 8, .hidden_dim = 2, .num_experts = 4, .top_k = 2}, /*seed=*/1);
  moe::AdamW<float> optimizer({.lr = 1e-2});

  // A task that wants specialists: the sign of x[0] decides which half of x is negated.
  moe::Random random(7);
  moe::Matrix<float> x(256, 8), target(256, 8), y(256, 8), dy(256, 8), dx(256, 8);
  for (moe::Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(random.normal());
  target = x;
  for (moe::Index t = 0; t < x.rows(); ++t) target.row(t).segment(x(t, 0) > 0 ? 0 : 4, 4) *= -1;

  Layer::Tape tape;
  moe::RoutingStats stats;
  for (int step = 0; step <= 300; ++step) {
    moe::zero_grad(layer);
    layer.forward(x, y, tape);
    dy = (y - target) / static_cast<float>(x.rows());
    const float error = (y - target).squaredNorm() / static_cast<float>(x.size());
    const float balance = tape.add_loss(moe::SwitchLoss{.coefficient = 1e-2});
    moe::routing_stats(tape.routing, tape.plan, stats);
    if (step % 100 == 0) {
      std::printf("step %3d   error %.4f   balance %.4f   tokens per expert %td %td %td %td\n",
                  step, error, balance, stats.tokens_per_expert[0], stats.tokens_per_expert[1],
                  stats.tokens_per_expert[2], stats.tokens_per_expert[3]);
    }
    layer.backward(dy, dx, tape);
    optimizer.step(layer);
  }
}
