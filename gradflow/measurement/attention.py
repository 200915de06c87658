"""How sharp attention is: the entropy of its weights, and how many queries see one key alone.

A softmax whose largest weight is near 1 has next to no slope, as a saturated sigmoid has. Of large
inputs some examples and queries are looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from gradflow.measurement.hooks import AfterCall
from gradflow.measurement.slopes import SATURATION

#: Examples, and queries of each, that are looked at.
_EXAMPLES, _QUERIES = 4, 64
#: The logarithm of a weight of 0.
_LEAST = -200.0
#: A logit below this belongs to a key that a mask hides.
_MASKED = -9e3
#: Logits that wait to be measured together.
_WAITING = 2**14

_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)


@dataclass(frozen=True)
class _Call:
    """One call of attention, with its logits.

    Attributes
    ----------
    number
        In the order of the calls.
    place
        Of the layer that it belongs to: of the last one before it, or of the module that holds it,
        which is the next to end.
    hidden
        Whether a mask may hide keys.
    """

    number: int
    place: int
    logits: Tensor
    hidden: bool

    @property
    def kind(self) -> Any:
        """By which calls are known that can be measured together."""
        return self.logits.shape, self.logits.device, self.hidden


class AttentionCalls:
    """Takes a model's calls of attention, and of softmax over keys.

    Parameters
    ----------
    records
        The layer calls so far, as a recorder keeps them.
    """

    def __init__(self, records: list[Any]) -> None:
        self.records = records
        self._count = self._entries = 0
        self._waiting: list[_Call] = []
        self._found: list[tuple[_Call, Tensor, Tensor]] = []

    def functions(self) -> dict[Any, AfterCall]:
        """Return what is to be told of calls of which functions."""
        return {
            F.scaled_dot_product_attention: self._scaled_dot_product,
            F.multi_head_attention_forward: self._multi_head,
            **dict.fromkeys(_SOFTMAX, self._softmax),
        }

    def _scaled_dot_product(self, _: Any, arguments: Any, keywords: Any, __: Any) -> None:
        masked = len(arguments) > 3 or "attn_mask" in keywords or keywords.get("is_causal", False)
        logits = _scaled_dot_product(*arguments, **keywords)
        self._take(logits, whole=False, hidden=masked)

    def _multi_head(self, _: Any, arguments: Any, keywords: Any, __: Any) -> None:
        self._take(_multi_head(*arguments, **keywords), whole=True)

    def _softmax(self, _: Any, arguments: Any, keywords: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            self._take(_softmax_logits(arguments, keywords), whole=False)

    def note(self) -> None:
        """Write what was seen into the records of the layers that it belongs to."""
        self._measure()
        for call, entropy, saturated in sorted(self._found, key=lambda found: found[0].number):
            if 0 <= call.place < len(self.records):
                values = self.records[call.place].values
                values.setdefault("attention_entropy", entropy)
                values.setdefault("attention_saturated", saturated)

    def _take(self, logits: Tensor | None, *, whole: bool, hidden: bool = True) -> None:
        """Take logits, (examples, …, queries, keys), that nobody else writes into.

        Parameters
        ----------
        whole
            Whether the module that holds the call is a layer itself (`nn.MultiheadAttention`).
        """
        if logits is None:
            return
        self._count += 1
        place = len(self.records) - (0 if whole else 1)
        self._waiting.append(_Call(self._count, place, logits.float(), hidden))
        self._entries += logits.numel()
        if self._entries > _WAITING:
            self._measure()

    @torch.no_grad()
    def _measure(self) -> None:
        """Measure all that waits, calls of one kind at once: most models' are."""
        waiting, self._waiting, self._entries = self._waiting, [], 0
        for kind in dict.fromkeys(call.kind for call in waiting):
            same = [call for call in waiting if call.kind == kind]
            alone = len(same) == 1
            logits = same[0].logits[None] if alone else torch.stack([call.logits for call in same])
            entropy, share = _entropy(logits, hidden=kind[-1])
            found = entropy.view(-1, 1).unbind(), share.view(-1, 1).unbind()
            self._found += zip(same, *found, strict=True)


def _entropy(logits: Tensor, *, hidden: bool) -> tuple[Tensor, Tensor]:
    """Return entropy and saturation of calls of attention, (calls,) each; NaN without a choice.

    The entropy is the mean over heads and queries, as a share of the largest: 0 where one key has
    it all. Saturated is a query at which the softmax has less than 1 % of its largest slope.
    """
    axes = tuple(range(1, logits.dim() - 1))
    every = torch.full((), logits.shape[-1], device=logits.device)
    keys = (logits > _MASKED).sum(-1) if hidden else every
    some = (keys > 1).expand(logits.shape[:-1])
    lower = logits - logits.amax(-1, keepdim=True)  # than the largest; of a hidden key -∞
    weights = lower.clamp_min_(_LEAST).exp()  # of which the largest is 1
    total = weights.sum(-1)
    entropy = (total.log() - lower.mul_(weights).sum(-1) / total) / keys.clamp_min(2).log()
    largest = 1 / total
    flat = largest * (1 - largest) < SATURATION / 4
    count = some.sum(axes)
    share = (flat & some).sum(axes) / count
    mean = entropy.where(some, 0).sum(axes) / count
    return mean.double(), share.double()


def _some(queries: int, device: torch.device) -> Tensor:
    """Return the places of the queries that are looked at."""
    if queries <= _QUERIES:
        return torch.arange(queries, device=device)
    return torch.linspace(0, queries - 1, _QUERIES, device=device).round().long()


@torch.no_grad()
def _scaled_dot_product(
    query: Tensor,
    key: Tensor,
    value: Tensor,  # noqa: ARG001
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    """Logits (examples, heads, queries, keys) of `F.scaled_dot_product_attention`."""
    if query.dim() not in (3, 4):
        return None
    places = _some(query.shape[-2], query.device)
    q, k = query[:_EXAMPLES].detach().float(), key[:_EXAMPLES].detach().float()
    every = len(places) == query.shape[-2]
    if enable_gqa:
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    logits = ((q if every else q.index_select(-2, places)) @ k.mT).mul_(factor)
    if is_causal:
        seen = torch.arange(k.shape[-2], device=q.device) <= places[:, None]
        logits = logits.masked_fill(~seen, -torch.inf)
    if attn_mask is not None:
        whole = attn_mask.expand(*query.shape[:-1], key.shape[-2])[:_EXAMPLES]
        logits = _masked(logits, whole[..., places, :])
    return logits


def _masked(logits: Tensor, mask: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return logits.masked_fill(~mask, -torch.inf)
    return logits + mask.detach().float()


@torch.no_grad()
def _multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,  # noqa: ARG001
    embedding: int,
    heads: int,
    in_weight: Tensor | None,
    in_bias: Tensor | None,
    *_: Any,
    key_padding_mask: Tensor | None = None,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    is_causal: bool = False,  # noqa: ARG001
    **__: Any,
) -> Tensor | None:
    """Logits (examples, heads, queries, keys) of `F.multi_head_attention_forward`."""
    if query.dim() != 3 or (attn_mask is not None and attn_mask.dim() != 2):
        return None
    weights = (q_proj_weight, k_proj_weight) if use_separate_proj_weight else (None, None)
    if in_weight is not None and not use_separate_proj_weight:
        weights = in_weight[:embedding], in_weight[embedding : 2 * embedding]
    w_q, w_k = weights
    if w_q is None or w_k is None:
        return None
    b_q, b_k = (None, None) if in_bias is None else in_bias.chunk(3)[:2]
    places = _some(len(query), query.device)
    q = _heads(F.linear(query[places, :_EXAMPLES].detach(), w_q, b_q), heads)
    k = _heads(F.linear(key[:, :_EXAMPLES].detach(), w_k, b_k), heads)
    logits = q @ k.mT / math.sqrt(q.shape[-1])
    for mask, at in ((attn_mask, places), (key_padding_mask, None)):
        if mask is None:
            continue
        part = mask[at] if at is not None else mask[:_EXAMPLES, None, None]
        logits = _masked(logits, ~part if part.dtype == torch.bool else part)
    return logits


def _heads(values: Tensor, heads: int) -> Tensor:
    """(steps, examples, embedding) -> (examples, heads, steps, embedding of a head)."""
    steps, examples, _ = values.shape
    return values.float().view(steps, examples, heads, -1).permute(1, 2, 0, 3)


def _softmax_logits(arguments: Any, keywords: dict[str, Any]) -> Tensor | None:
    """Logits of a softmax over keys: of its last axis, with an axis of queries and of heads."""
    inputs = arguments[0] if arguments else keywords.get("input")
    axis = arguments[1] if len(arguments) > 1 else keywords.get("dim")
    if not isinstance(inputs, Tensor) or axis not in (-1, inputs.dim() - 1):
        return None
    square = inputs.dim() == 3 and inputs.shape[-1] == inputs.shape[-2] > 2
    if inputs.dim() != 4 and not square:
        return None
    some = inputs.detach()[:_EXAMPLES]
    return some[..., _some(some.shape[-2], some.device), :].float()
