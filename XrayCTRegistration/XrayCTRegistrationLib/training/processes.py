"""The processes of a training that `torchrun` started, or the one that a person started."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import distributed

from ..errors import InputError


@dataclass(frozen=True)
class Processes:
    """rank: of this process, from 0. count: of all."""

    rank: int = 0
    count: int = 1

    @classmethod
    def joined(cls) -> Processes:
        """Meet the other processes where `torchrun` says that there are some."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    def share(self, batch: int) -> range:
        """The numbers of this process's samples of a batch; InputError unless all processes get as many."""
        if batch % self.count:
            raise InputError(f"A batch of {batch} cannot be shared by {self.count} processes. Make it a multiple.")
        each = batch // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def any(self, here: bool) -> bool:
        """Whether it is so in any process: all must stop at the same step."""
        if self.count == 1:
            return here
        flag = torch.tensor(float(here), device=_device())
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag.item())

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over the processes of values of any shape."""
        if self.count == 1:
            return values
        total = values.detach().to(_device(), copy=True)
        distributed.all_reduce(total)
        return total.to(values.device) / self.count

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every process the mean of all gradients.

        Not by DistributedDataParallel, whose hooks do not bear the gradient within the loss (torch.autograd.grad);
        the mean is the same.
        """
        if self.count == 1:
            return
        held = [parameter for parameter in parameters if parameter.grad is not None]
        flat = self.mean(torch.cat([parameter.grad.flatten() for parameter in held]))
        for parameter, part in zip(held, flat.split([parameter.numel() for parameter in held])):
            parameter.grad.copy_(part.view_as(parameter))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
