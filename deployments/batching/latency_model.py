"""How long a batch takes on this machine, learnt while serving."""

import math
from dataclasses import dataclass

MEMORY = 1 - 1 / 32  # of the past at each batch: half of what is known comes from the last 22
RATIO_WEIGHT = 0.05  # of the ratio known so far, against that of all that is remembered
SHORTEST_S = 1e-6  # below the clock's use


@dataclass(frozen=True, slots=True)
class BatchCost:
    """seconds = fixed_s + s_per_token x padded tokens; neither is negative, and one of them is above zero."""

    fixed_s: float
    s_per_token: float

    def seconds(self, padded: float) -> float:
        """Of one batch whose longest x items is `padded`."""
        return self.fixed_s + self.s_per_token * padded

    def tokens(self, seconds: float) -> float:
        """Padded tokens that take so long, without the fixed part."""
        return seconds / self.s_per_token if self.s_per_token else math.inf


PRIOR = BatchCost(fixed_s=1e-2, s_per_token=1e-5)  # batching pays, until the first batches say how much
PRIOR_LARGEST = 256


class LatencyModel:
    """Fits a BatchCost to the batches that ran, the latest counting most.

    Least squares of the relative error, in closed form from running sums, which is recursive least squares with
    exponential forgetting (Ljung, System Identification, 2nd ed. 1999, section 11.2) of observations that weigh
    1 / seconds^2 (Tofallis, Least Squares Percentage Regression, 2008). So small batches tell of the fixed part as
    well as large ones of the rest; and a batch held up by something else, k times slower, weighs k^2 times less: one
    slow first batch or pause hardly counts, while a machine that stays slower is believed once the past has faded.

    Batches of one size tell one number, not two. Then the ratio of the two parts stays what it was, by a weak
    observation of its own; at first it is the prior's. Negative solutions give way to the best one with a zero.
    """

    def __init__(self) -> None:
        self.cost = PRIOR
        self.largest = PRIOR_LARGEST
        self._weight = self._tokens = self._tokens2 = self._seconds = self._tokens_seconds = 0.0

    def learn(self, padded: int, seconds: float) -> None:
        """A batch of so many padded tokens took so many seconds."""
        padded, seconds = max(padded, 1), max(seconds, SHORTEST_S)
        weight = 1 / seconds**2
        self._weight = MEMORY * self._weight + weight
        self._tokens = MEMORY * self._tokens + weight * padded
        self._tokens2 = MEMORY * self._tokens2 + weight * padded**2
        self._seconds = MEMORY * self._seconds + weight * seconds
        self._tokens_seconds = MEMORY * self._tokens_seconds + weight * padded * seconds
        self.largest = max(self.largest, padded)
        self.cost = self._solved()

    def _solved(self) -> BatchCost:
        """Normal equations of the sums above and the weak observation 0 = fixed_s x row[0] + s_per_token x row[1]."""
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


FIXED_SHARE = 0.03  # of a batch's time: a larger batch would hardly be faster
GROWTH = 2  # times the largest batch measured: farther than that a line is not followed


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """padded: most tokens of a batch, longest x items; padding: how many of them may be padding."""

    padded: float
    padding: float


def limits_of(model: LatencyModel, *, max_tokens: int, target_s: float) -> BatchLimits:
    """A batch may pay as much for padding as another batch would cost, and is full when any of these is reached:

    - `max_tokens`, what the device's memory holds;
    - `target_s`, so that an item that arrives while a batch runs soon gets its turn; but where the fixed part alone
      takes most of it, batches as small as that would serve nobody, and their tokens may take as long as it does;
    - the size from which the fixed part is less than `FIXED_SHARE` of its time;
    - `GROWTH` times the largest batch so far: towards a size never tried, batches grow step by step.
    """
    cost = model.cost
    in_time = cost.tokens(max(target_s - cost.fixed_s, cost.fixed_s))
    efficient = cost.tokens(cost.fixed_s * (1 - FIXED_SHARE) / FIXED_SHARE)
    return BatchLimits(
        padded=min(max_tokens, in_time, efficient, GROWTH * model.largest),
        padding=cost.tokens(cost.fixed_s),
    )
