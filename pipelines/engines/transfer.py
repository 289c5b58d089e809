"""Copies between the host and a device that overlap with what the device computes."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Transfer:
    """Each thread has a CUDA stream of its own: while one thread's batch computes, another's is copied and launched.

    Copies go through pinned memory, which is what lets them run beside kernels. A thread waits once a batch, for its
    results. On the CPU nothing is copied and nothing waits.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._own = threading.local()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Within it, all that PyTorch starts goes to the thread's stream."""
        if self._device.type == "cpu":
            yield
            return
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._own.stream):
            yield

    def to_device(self, array: NDArray[Any]) -> Tensor:
        """The array's values on the device, in its dtype; does not wait for them to arrive."""
        tensor = torch.from_numpy(array)
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)

    def to_host(self, tensors: Sequence[Tensor]) -> tuple[NDArray[np.float32], ...]:
        """The tensors in float32, once the stream has computed them."""
        if self._device.type == "cpu":
            return tuple(tensor.float().numpy() for tensor in tensors)
        results = [torch.empty(tensor.shape, dtype=torch.float32, pin_memory=True) for tensor in tensors]
        for result, tensor in zip(results, tensors, strict=True):
            result.copy_(tensor.float(), non_blocking=True)
        # Waiting for a blocking event sleeps. A thread that spins takes a core from those that launch kernels.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record()
        done.synchronize()
        return tuple(result.numpy() for result in results)

    def settle(self) -> None:
        """Wait for all the device has been given: the threads' streams do not wait for the weights' copies."""
        if self._device.type != "cpu":
            torch.cuda.synchronize(self._device)
