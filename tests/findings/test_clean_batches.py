"""Programs as people write them, of many kinds, of which nothing is to be said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.batches import said
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

#: A model, and what calls it and returns the loss.
Program = tuple[nn.Module, Callable[[], Tensor]]

PROGRAMS: dict[str, Callable[[], Program]] = {}


def program(build: Callable[[], Program]) -> Callable[[], Program]:
    PROGRAMS[build.__name__] = build
    return build


def mlp(inputs: int, outputs: int, *last: nn.Module) -> nn.Sequential:
    layers = (nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(32, outputs), *last)


@program
def convolutional_classifier() -> Program:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 36, 10)
    )
    x, y = torch.rand(32, 1, 14, 14), torch.randint(10, (32,))
    return model, lambda: F.cross_entropy(model(x), y)


@program
def classifier_that_ends_in_a_pooled_relu() -> Program:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    x, y = torch.rand(16, 3, 12, 12), torch.randint(5, (16,))
    return model, lambda: F.cross_entropy(model(x).flatten(1), y)


class Language(nn.Module):
    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        nn.init.normal_(self.embed.weight, 0, 0.02)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 50, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.body(self.embed(tokens), mask=mask, is_causal=True))


@program
def language_model() -> Program:
    model, tokens = Language(), torch.randint(50, (8, 13))
    return model, lambda: F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:])


@program
def language_model_with_tied_weights() -> Program:
    model, tokens = Language(tied=True), torch.randint(50, (8, 13))
    return model, lambda: F.cross_entropy(
        model(tokens[:, :-1]).reshape(-1, 50), tokens[:, 1:].reshape(-1)
    )


class Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = mlp(64, 16), mlp(8, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.inner(x).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.outer(code).sigmoid(), mean, log_variance


@program
def variational_autoencoder() -> Program:
    model, x = Variational(), torch.rand(32, 64)

    def run() -> Tensor:
        again, mean, log = model(x)
        apart = F.binary_cross_entropy(again, x, reduction="sum")
        return (apart - 0.5 * (1 + log - mean.square() - log.exp()).sum()) / len(x)

    return model, run


@program
def metric_learning_with_triplets() -> Program:
    model, x = mlp(10, 8), torch.randn(3, 24, 10)
    return model, lambda: F.triplet_margin_loss(model(x[0]), model(x[1]), model(x[2]))


@program
def discriminator() -> Program:
    model, real, fake = mlp(10, 1), torch.randn(16, 10), torch.randn(16, 10)

    def run() -> Tensor:
        ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
        of = F.binary_cross_entropy_with_logits
        return of(model(real), ones) + of(model(fake), zeros)

    return model, run


@program
def generator_against_a_discriminator() -> Program:
    model, other, z = mlp(6, 10, nn.Tanh()), mlp(10, 1), torch.randn(16, 6)
    ones = torch.ones(16, 1)
    return model, lambda: F.binary_cross_entropy_with_logits(other(model(z)), ones)


@program
def discriminator_of_a_generator_with_a_graph() -> Program:
    other, model, z = mlp(6, 10), mlp(10, 1), torch.randn(16, 6)
    return model, lambda: (model(other(z)) - 1).square().mean()


@program
def critic_with_gradient_penalty() -> Program:
    model, real, fake = mlp(10, 1), torch.randn(16, 10), torch.randn(16, 10)

    def run() -> Tensor:
        between = (0.5 * real + 0.5 * fake).requires_grad_()
        (slope,) = torch.autograd.grad(model(between).sum(), between, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).square().mean()
        return model(fake).mean() - model(real).mean() + 10 * penalty

    return model, run


@program
def physics_informed() -> Program:
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
    model.append(nn.Linear(32, 1))
    x = torch.rand(64, 1).requires_grad_()

    def run() -> Tensor:
        u = model(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return (slope + u).square().mean() + (model(torch.zeros(1, 1)) - 1).square().mean()

    return model, run


@program
def contrastive_pairs() -> Program:
    model, x = mlp(10, 8), torch.randn(2, 16, 10)

    def run() -> Tensor:
        one, other = (F.normalize(model(part), dim=1) for part in x)
        alike, each = one @ other.T / 0.1, torch.arange(16)
        return (F.cross_entropy(alike, each) + F.cross_entropy(alike.T, each)) / 2

    return model, run


@program
def speech_with_ctc() -> Program:
    model, x = nn.GRU(8, 12, batch_first=True), torch.randn(4, 20, 8)
    labels, lengths = torch.randint(1, 12, (4, 5)), torch.full((4,), 20)

    def run() -> Tensor:
        logs = model(x)[0].log_softmax(2).transpose(0, 1)
        return F.ctc_loss(logs, labels, lengths, torch.full((4,), 5))

    return model, run


@program
def segmentation() -> Program:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    x, y = torch.randn(4, 3, 16, 16), torch.randint(4, (4, 16, 16))
    return model, lambda: F.cross_entropy(model(x), y, ignore_index=0)


@program
def several_labels() -> Program:
    model, x, y = mlp(10, 6), torch.randn(32, 10), (torch.rand(32, 6) < 0.2).float()
    return model, lambda: F.binary_cross_entropy_with_logits(model(x), y)


@program
def focal_loss() -> Program:
    model, x, y = mlp(10, 6), torch.randn(32, 10), torch.randint(6, (32,))

    def run() -> Tensor:
        each = F.cross_entropy(model(x), y, reduction="none")
        return ((1 - (-each).exp()) ** 2 * each).mean()

    return model, run


@program
def label_smoothing() -> Program:
    model, x, y = mlp(10, 6), torch.randn(32, 10), torch.randint(6, (32,))
    return model, lambda: F.cross_entropy(model(x), y, label_smoothing=0.1)


@program
def mixed_up_targets() -> Program:
    model, x, y = mlp(10, 6), torch.randn(32, 10), torch.rand(32, 6).softmax(1)
    return model, lambda: F.cross_entropy(model(x), y)


@program
def distillation() -> Program:
    model, teacher, x = mlp(10, 6), mlp(10, 6), torch.randn(32, 10)

    def run() -> Tensor:
        with torch.no_grad():
            soft = (teacher(x) / 4).softmax(1)
        return 16 * F.kl_div((model(x) / 4).log_softmax(1), soft, reduction="batchmean")

    return model, run


@program
def policy_gradient() -> Program:
    model, x, returns = mlp(10, 4, nn.Softmax(-1)), torch.randn(32, 10), -torch.rand(32)

    def run() -> Tensor:
        chances = torch.distributions.Categorical(model(x))
        return -(chances.log_prob(chances.sample()) * returns).mean()

    return model, run


@program
def policy_gradient_of_costs_by_hand() -> Program:
    model, x, returns = mlp(10, 4), torch.randn(32, 10), -torch.rand(32, 1)
    taken = torch.randint(4, (32, 1))
    return model, lambda: -(model(x).log_softmax(1).gather(1, taken) * returns).mean()


@program
def q_learning() -> Program:
    model, x, best = mlp(4, 3), torch.randn(32, 4), torch.randn(32)
    taken = torch.randint(3, (32, 1))
    return model, lambda: F.smooth_l1_loss(model(x).gather(1, taken).squeeze(1), best)


@program
def gaussian_likelihood() -> Program:
    model, x, y = mlp(10, 2), torch.randn(32, 10), torch.randn(32)

    def run() -> Tensor:
        mean, log = model(x).unbind(1)
        return F.gaussian_nll_loss(mean, y, F.softplus(log))

    return model, run


@program
def quantiles() -> Program:
    model, x, y = mlp(10, 3), torch.randn(32, 10), torch.randn(32, 1)
    levels = torch.tensor([0.1, 0.5, 0.9])

    def run() -> Tensor:
        over = y - model(x)
        return torch.maximum(levels * over, (levels - 1) * over).mean()

    return model, run


@program
def autoencoder_of_images() -> Program:
    model, x = mlp(64, 64, nn.Sigmoid()), torch.rand(32, 64).round()
    return model, lambda: F.binary_cross_entropy(model(x), x)


@program
def autoencoder_with_a_squared_error() -> Program:
    model, x = mlp(64, 64, nn.Sigmoid()), torch.rand(32, 64)
    return model, lambda: (model(x) - x).square().mean()


@program
def bounded_policy() -> Program:
    model, x, done = mlp(10, 2, nn.Tanh()), torch.randn(32, 10), torch.rand(32, 2) * 2 - 1
    return model, lambda: F.mse_loss(model(x), done)


@program
def word_vectors() -> Program:
    model = nn.Embedding(30, 8)
    pairs, near = torch.randint(30, (2, 32)), torch.randint(2, (32,)).float()

    def run() -> Tensor:
        alike = (model(pairs[0]) * model(pairs[1])).sum(1)
        return F.binary_cross_entropy_with_logits(alike, near)

    return model, run


class Bootstrap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.online, self.slow, self.head = mlp(10, 8), mlp(10, 8), mlp(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.online(x))


@program
def bootstrapped_with_a_slow_copy() -> Program:
    model, x = Bootstrap(), torch.randn(2, 16, 10)
    model.slow.requires_grad_(False)

    def run() -> Tensor:
        with torch.no_grad():
            goal = model.slow(x[1])
        return 2 - 2 * F.cosine_similarity(model(x[0]), goal).mean()

    return model, run


@program
def denoising_diffusion() -> Program:
    model, x, noise = mlp(11, 10), torch.randn(32, 10), torch.randn(32, 10)
    time = torch.rand(32, 1)

    def run() -> Tensor:
        noisy = (1 - time).sqrt() * x + time.sqrt() * noise
        return F.mse_loss(model(torch.cat([noisy, time], 1)), noise)

    return model, run


@program
def logistic_regression() -> Program:
    model, x = nn.Linear(5, 1), torch.randn(32, 5)
    y = (torch.rand(32, 1) < 0.5).float()
    return model, lambda: F.binary_cross_entropy(model(x).sigmoid(), y)


@program
def likelihood_by_hand() -> Program:
    model, x, y = mlp(5, 1, nn.Sigmoid()), torch.randn(32, 5), torch.randint(2, (32, 1)).float()

    def run() -> Tensor:
        p = model(x).clamp(1e-6, 1 - 1e-6)
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

    return model, run


class LowRank(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(10, 10), nn.Linear(10, 2), nn.Linear(2, 10)
        nn.init.zeros_(self.up.weight)
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.base(x) + self.up(self.down(x))).relu())


@program
def low_rank_adapter() -> Program:
    model, x, y = LowRank(), torch.randn(32, 10), torch.randint(3, (32,))
    return model, lambda: F.cross_entropy(model(x), y)


@program
def separable_convolutions() -> Program:
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
    )
    x, y = torch.randn(16, 4, 8, 8), torch.randint(3, (16,))
    model(x)
    return model, lambda: F.cross_entropy(model(x), y)


@program
def soft_capped_scores() -> Program:
    model, x, y = mlp(10, 5), torch.randn(32, 10), torch.randint(5, (32,))
    return model, lambda: F.cross_entropy(30 * (model(x) / 30).tanh(), y)


@program
def mixture_of_predictions() -> Program:
    model, x, y = mlp(10, 5, nn.Softmax(1)), torch.randn(2, 32, 10), torch.randint(5, (32,))
    return model, lambda: F.nll_loss(((model(x[0]) + model(x[1])) / 2).log(), y)


@program
def rating_from_one_to_five() -> Program:
    model, x, y = mlp(10, 1), torch.randn(32, 10), torch.randint(1, 6, (32, 1)).float()
    return model, lambda: F.mse_loss(model(x), y)


@program
def counts_by_a_poisson_loss() -> Program:
    model, x, y = mlp(10, 1), torch.randn(32, 10), torch.randint(6, (32, 1)).float()
    return model, lambda: F.poisson_nll_loss(model(x), y)


@program
def span_of_an_answer() -> Program:
    model, x, start = nn.Linear(16, 1), torch.randn(8, 20, 16), torch.randint(20, (8,))
    return model, lambda: F.cross_entropy(model(x).squeeze(-1), start)


@program
def multiple_choice() -> Program:
    model, x, y = mlp(16, 1), torch.randn(8 * 4, 16), torch.randint(4, (8,))
    return model, lambda: F.cross_entropy(model(x).view(8, 4), y)


@program
def images_of_bytes_behind_a_normalisation() -> Program:
    model = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    x, y = 255 * torch.rand(32, 20), torch.randint(3, (32,))
    return model, lambda: F.cross_entropy(model(x), y)


@program
def missing_values_that_the_model_fills_in() -> Program:
    class Filling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(10, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.nan_to_num(0.0))

    model, x, y = Filling(), torch.randn(32, 10), torch.randint(3, (32,))
    x[3, 4] = torch.nan
    return model, lambda: F.cross_entropy(model(x), y)


@program
def one_hot_inputs() -> Program:
    model, x = mlp(20, 3), F.one_hot(torch.randint(20, (32,)), 20).float()
    y = torch.randint(3, (32,))
    return model, lambda: F.cross_entropy(model(x), y)


@program
def gradients_accumulated_over_a_sum() -> Program:
    model, x, y = mlp(10, 3), torch.randn(32, 10), torch.randint(3, (32,))
    return model, lambda: F.cross_entropy(model(x), y, reduction="sum") / 32


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_said_of_a_program_that_is_right(name: str) -> None:
    torch.manual_seed(0)
    assert said(*PROGRAMS[name]()) == {}
