"""Learn, while serving, how long a batch takes on this machine."""

import math
from dataclasses import dataclass

FORGETTING_FACTOR = 1 - 1 / 32  # factor on the weight of older batches: the last 22 batches have half of all weight
RATIO_WEIGHT = 0.05  # weight of the last known ratio, relative to the weight of all batches
MIN_SECONDS = 1e-6  # the clock does not measure shorter times well


@dataclass(frozen=True, slots=True)
class BatchCost:
    """seconds = fixed_s + s_per_token x tokens. Neither part is negative, and at least one is positive.

    Tokens of padding count as much as they cost, relative to any other token.
    """

    fixed_s: float
    s_per_token: float

    def seconds(self, tokens: float) -> float:
        """Seconds of one batch of so many tokens."""
        return self.fixed_s + self.s_per_token * tokens

    def tokens(self, seconds: float) -> float:
        """Tokens that take this time, not counting the fixed part."""
        return seconds / self.s_per_token if self.s_per_token else math.inf


PRIOR = BatchCost(fixed_s=1e-2, s_per_token=1e-5)  # until batches are measured, assume that batching saves time
PRIOR_LARGEST = 256


class LatencyModel:
    """Fits a BatchCost to the batches that have run. Recent batches have more weight.

    The fit minimizes the squared relative error, in closed form from running sums. It is recursive least squares with
    exponential forgetting (Ljung, System Identification, 2nd ed. 1999, section 11.2) in which each observation has the
    weight 1 / seconds^2 (Tofallis, Least Squares Percentage Regression, 2008). So small batches determine the fixed
    part as well as large batches determine the rest. A batch that is delayed by something else and takes k times as
    long has 1 / k^2 of its weight. One slow first batch or one pause therefore hardly counts, but if the machine stays
    slower, the model follows as the older batches lose weight.

    Batches of one size determine only the sum of the two parts. In this case a weak additional observation keeps the
    ratio of the parts at its last value, which is the prior's at first. If a part of the solution is negative, it is
    set to zero and the other part is fitted alone.
    """

    def __init__(self) -> None:
        self.cost = PRIOR
        self.largest: float = PRIOR_LARGEST
        self._weight = self._tokens = self._tokens2 = self._seconds = self._tokens_seconds = 0.0

    def learn(self, tokens: float, seconds: float) -> None:
        """Add the observation that a batch of so many tokens took `seconds`."""
        tokens, seconds = max(tokens, 1), max(seconds, MIN_SECONDS)
        weight = 1 / seconds**2
        self._weight = FORGETTING_FACTOR * self._weight + weight
        self._tokens = FORGETTING_FACTOR * self._tokens + weight * tokens
        self._tokens2 = FORGETTING_FACTOR * self._tokens2 + weight * tokens**2
        self._seconds = FORGETTING_FACTOR * self._seconds + weight * seconds
        self._tokens_seconds = FORGETTING_FACTOR * self._tokens_seconds + weight * tokens * seconds
        self.largest = max(self.largest, tokens)
        self.cost = self._solve()

    def _solve(self) -> BatchCost:
        """Solve the normal equations. The weak observation is 0 = fixed_s x row[0] + s_per_token x row[1]."""
        mean = self._tokens / self._weight
        scale = self.cost.seconds(mean)
        row = (mean * self.cost.s_per_token / scale, -mean * self.cost.fixed_s / scale)
        weight = RATIO_WEIGHT * self._weight
        fixed2 = self._weight + weight * row[0] ** 2
        both = self._tokens + weight * row[0] * row[1]
        tokens2 = self._tokens2 + weight * row[1] ** 2
        determinant = fixed2 * tokens2 - both**2  # above zero: `row` is never parallel to (1, mean)
        fixed_s = (self._seconds * tokens2 - self._tokens_seconds * both) / determinant
        s_per_token = (self._tokens_seconds * fixed2 - self._seconds * both) / determinant
        if fixed_s < 0:
            return BatchCost(0.0, self._tokens_seconds / tokens2)
        if s_per_token < 0:
            return BatchCost(self._seconds / fixed2, 0.0)
        return BatchCost(fixed_s, s_per_token)


FIXED_SHARE = 0.03  # of a batch's time; with a smaller share, a larger batch would hardly save time per token
SMALLEST_EFFICIENT = 256  # padded tokens; a batch is never taken to be large enough with fewer
GROWTH = 2  # largest next batch, relative to the largest one measured: limits extrapolation


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """padded: most tokens of a batch with padding (longest item x items); padding: most padding tokens among them."""

    padded: float
    padding: float

    def one_item(self) -> "BatchLimits":
        """The limits of batches with one item each, whatever its length."""
        return BatchLimits(0, self.padding)


def limits_of(model: LatencyModel, *, max_tokens: int, target_s: float, padding_cost: float = 1.0) -> BatchLimits:
    """The limits of the next batch.

    Padding, a token of which takes `padding_cost` times the time of any other token, may take as much time as the fixed
    part of another batch. A batch is full when it reaches one of these:

    - `max_tokens`, what the device's memory holds;
    - `target_s`, so that an item that arrives while a batch runs does not wait long; but if the fixed part takes more
      than half of this time, the tokens may take as long as the fixed part, since smaller batches would be inefficient;
    - the size at which the fixed part falls below `FIXED_SHARE` of the batch's time;
    - `GROWTH` times the largest batch so far, so that batches grow to untried sizes step by step.

    The fixed part counts as at least the `FIXED_SHARE` of a batch of `SMALLEST_EFFICIENT` tokens. The fit may give zero
    after the machine became faster, or if large batches leave the caches of the CPU. Items would then run one by one,
    and batches of one size would never correct the fit.
    """
    cost = model.cost
    in_time = cost.tokens(max(target_s - cost.fixed_s, cost.fixed_s))
    fixed_s = max(cost.fixed_s, cost.s_per_token * SMALLEST_EFFICIENT * FIXED_SHARE / (1 - FIXED_SHARE))
    efficient = cost.tokens(fixed_s * (1 - FIXED_SHARE) / FIXED_SHARE)
    return BatchLimits(
        padded=min(max_tokens, in_time, efficient, GROWTH * model.largest),
        padding=cost.tokens(fixed_s) / padding_cost,
    )
