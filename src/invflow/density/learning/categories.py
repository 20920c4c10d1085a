"""The joint probability of a table's categories, one column after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from invflow._part import Part
from invflow.density.learning.network import Network
from invflow.density.table import Column
from invflow.density.table.calendar import SEASONS

#: The largest float below one.
BELOW_ONE = 1 - 2**-53
#: Of the probability that is not the softmax's, the share of categories that were never seen.
UNSEEN = 0.5


class Categories(Part):
    r"""A product of softmaxes, each given the columns before it and a context.

    $$p(x | c) = \prod_j p(x_j | x_{<j}, c), \qquad
    p(x_j = l | \cdot) = (1 - \varepsilon_j) \operatorname{softmax}_l(a_j) +
    \frac{\varepsilon_j}{2 L_j}$$

    with the logits a of all columns from one pass of a masked perceptron over one-hot vectors
    (thermometers for ordinal columns), or with the mean of the softmaxes of several networks.
    $\varepsilon_j = (s_j + 1) / (n_j + 2)$, of $s_j$ categories seen once among $n_j$ values (Good
    1953), keeps rare categories from a probability of zero; the other half of it is the probability
    of a category that was never seen. A boolean column with both values, or one with all days of
    the week or hours of the day, has no such category, and all of it goes to those it has. So
    probabilities add up to one exactly.

    Args:
        columns: categorical and ordinal, with the counts of their categories.
        context: size of the context, 0 for none.
        networks: number of networks that are averaged.
        generator: random numbers for the initial weights.

    References:
        Germain et al. 2015, arXiv 1502.03509; Good 1953, Biometrika 40.

    Example:
        >>> colour = Column("colour", "categorical", "str", categories=("red", "blue"))
        >>> known = Categories([colour], context=0).log_prob(torch.tensor([[0.0], [1.0], [2.0]]))
        >>> round(known.exp().sum().item(), 6)
        1.0
    """

    def __init__(
        self,
        columns: Sequence[Column],
        context: int = 0,
        *,
        networks: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.context = context
        self.sizes = [len(column.categories) for column in columns]
        self.networks = nn.ModuleList(
            Network(columns, context, generator=generator) for _ in range(networks)
        )
        #: The probabilities spread over the categories of each column, and of unseen ones.
        self.shares = [_shares(column) for column in columns]
        self.keep_constants()

    def constants(self) -> dict[str, Tensor]:
        entries = [(j, level) for j, size in enumerate(self.sizes) for level in range(size)]
        return {
            "owner": torch.tensor([j for j, _ in entries]),
            "level": torch.tensor([level for _, level in entries]),
            "ordinal": torch.tensor([self.columns[j].kind == "ordinal" for j, _ in entries]),
            "size": torch.tensor([self.sizes[j] for j, _ in entries]),
        }

    owner: Tensor
    level: Tensor
    ordinal: Tensor
    size: Tensor

    def one_hot(self, codes: Tensor) -> Tensor:
        """Return codes as zeros and ones, (*batch, sum of the numbers of categories).

        What is missing or was never seen is all zeros; a thermometer has ones up to its code.
        """
        own = codes[..., self.owner]
        reached = torch.where(self.ordinal, (own >= self.level) & (own < self.size), False)
        return (reached | (own == self.level)).to(self.like.dtype)

    def log_prob(self, codes: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log probability of codes, shape (*batch,), in float64.

        Args:
            codes: shape (*batch, columns); the number of categories for one that was never seen.
            context: shape (*batch, context); None for none.
        """
        return self.log_probs(codes, context).sum(-1)

    def log_probs(self, codes: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log probability of each code given those before it, (*batch, columns)."""
        return self._of(codes, self._logits(codes, context))

    def each_log_prob(self, codes: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log probability of codes by each network alone, shape (networks, *batch)."""
        return torch.stack(
            [self._of(codes, [logits]).sum(-1) for logits in self._logits(codes, context)]
        )

    def _of(self, codes: Tensor, logits: Sequence[Tensor]) -> Tensor:
        each = [
            self._known(j, logits).gather(-1, codes[..., j, None].long())
            for j in range(len(self.sizes))
        ]
        return torch.cat(each, -1)

    def cdf(self, codes: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the probabilities of lower codes and of the codes, each (*batch, columns)."""
        below: list[Tensor] = []
        own: list[Tensor] = []
        logits = self._logits(codes, context)
        for j in range(len(self.sizes)):
            p = self._known(j, logits).exp()
            code = codes[..., j, None].long()
            own.append(p.gather(-1, code)[..., 0])
            below.append((p.cumsum(-1).gather(-1, code)[..., 0] - own[-1]).clamp(min=0))
        return torch.stack(below, -1), torch.stack(own, -1)

    @torch.no_grad()
    def fill(
        self, codes: Tensor, uniform: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return codes with the missing ones drawn, and the log probability of what was drawn.

        Given codes are not weighed against each other: it is a draw of each column in turn given
        the columns before it.

        Args:
            codes: shape (*batch, columns), NaN where missing.
            uniform: uniform numbers in [0, 1), the shape of `codes`; times `seen` to draw only
                categories that were seen.
            context: shape (*batch, context); None for none.
        """
        codes, log_q = codes.clone(), torch.zeros_like(codes[..., 0])
        for j, size in enumerate(self.sizes):
            gaps = codes[..., j].isnan()
            if not gaps.any():
                continue
            log_p = self._known(j, self._logits(codes, context))
            below = log_p.exp().cumsum(-1) <= uniform[..., j, None]
            drawn = below.sum(-1).clamp(max=size)
            codes[..., j] = torch.where(gaps, drawn.to(codes), codes[..., j])
            log_q = log_q + torch.where(gaps, log_p.gather(-1, drawn[..., None])[..., 0], 0.0)
        return codes, log_q

    @property
    def seen(self) -> Tensor:
        """The probability of the categories that were seen, shape (columns,)."""
        unseen = [unseen for _, unseen in self.shares]
        return 1 - torch.tensor(unseen, dtype=torch.float64, device=self.like.device)

    @property
    def like(self) -> Tensor:
        """A tensor with the dtype and device of the weights."""
        return next(self.parameters())

    def _logits(self, codes: Tensor, context: Tensor | None) -> list[Tensor]:
        """Return the logits of all columns by each network."""
        read = self.one_hot(codes)
        if self.context:
            given = cast(Tensor, context).to(read).expand(*read.shape[:-1], -1)
            read = torch.cat([given, read], -1)
        return [network(read) for network in self.networks]

    def _known(self, j: int, logits: Sequence[Tensor]) -> Tensor:
        """Return the log probabilities of the categories of column j, the last never seen.

        Args:
            j: place of the column.
            logits: of all columns, by each of the networks to average over.
        """
        floor, unseen = self.shares[j]
        each = [log_softmax(own.split(self.sizes, -1)[j].double(), -1) for own in logits]
        mean = torch.stack(each).logsumexp(0) - math.log(len(each))
        soft = math.log1p(-floor - unseen) + mean
        mixed = torch.logaddexp(soft, soft.new_tensor(math.log(floor / self.sizes[j])))
        never = mixed.new_full((*mixed.shape[:-1], 1), math.log(unseen) if unseen else -math.inf)
        return torch.cat([mixed, never], -1)


def _shares(column: Column) -> tuple[float, float]:
    """Return the probability spread over the categories, and that of categories never seen."""
    values, once = sum(column.counts), sum(count == 1 for count in column.counts)
    share = (once + 1) / (values + 2)
    both = {type(level) for level in column.categories} == {bool} and len(column.categories) == 2
    closed = both or len(column.categories) == _most(column)
    unseen = 0.0 if closed else UNSEEN * share
    return share - unseen, unseen


def _most(column: Column) -> int | None:
    """Return the number of weekdays, hours or seasons that there are, None for other columns."""
    most = {"weekday": 7, "hour": 24, "season": SEASONS}
    return None if column.part is None else most[column.part.name]


def uniforms(normal: Tensor) -> Tensor:
    """Return standard normal numbers as uniform ones."""
    return (0.5 * torch.erfc(-normal.double() / math.sqrt(2))).clamp(max=BELOW_ONE)
