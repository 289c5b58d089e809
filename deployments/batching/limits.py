"""How large a batch should be on a machine whose costs are known: no larger than pays, no longer than allowed."""

from dataclasses import dataclass

from deployments.batching.latency_model import LatencyModel

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
