"""Copy data between host and device while the device computes."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Transfer:
    """Gives each thread its own CUDA stream: while one batch is computed, another is copied and launched.

    Copies use pinned memory, without which they could not run while kernels run. A thread waits once per batch, for its
    results. On the CPU there are no copies and no waits.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._own = threading.local()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Run all PyTorch operations of the block on the thread's stream."""
        if self._device.type == "cpu":
            yield
            return
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._own.stream):
            yield

    def to_device(self, array: NDArray[Any]) -> Tensor:
        """Copy an array to the device, in the same dtype, without waiting for the copy."""
        tensor = torch.from_numpy(array)
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)

    def to_host(self, tensors: Sequence[Tensor]) -> tuple[NDArray[np.float32], ...]:
        """Wait for the stream and return the tensors in float32."""
        if self._device.type == "cpu":
            return tuple(tensor.float().numpy() for tensor in tensors)
        results = [torch.empty(tensor.shape, dtype=torch.float32, pin_memory=True) for tensor in tensors]
        for result, tensor in zip(results, tensors, strict=True):
            result.copy_(tensor.float(), non_blocking=True)
        # A thread sleeps while it waits for a blocking event. A spinning thread would take a core from the threads that
        # launch kernels.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record()
        done.synchronize()
        return tuple(result.numpy() for result in results)

    def settle(self) -> None:
        """Wait for all work on the device, because the threads' streams do not wait for the copies of the weights."""
        if self._device.type != "cpu":
            torch.cuda.synchronize(self._device)
