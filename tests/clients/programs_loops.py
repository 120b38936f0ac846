"""Programs as users write them around loops and data; see programs_text.py."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable
from torch.utils.data import DataLoader, Dataset, Sampler, WeightedRandomSampler, random_split

Record = Callable[[str, Any], None]


class Corridor:
    """An environment: walk to the right end of a corridor."""

    def __init__(self) -> None:
        self.place = 0.0

    def reset(self) -> list[float]:
        self.place = 0.0
        return [self.place, 1.0]

    def step(self, action: int) -> tuple[list[float], float, bool]:
        self.place += (0.5, -0.3)[action]
        return [self.place, 1.0], -abs(2 - self.place), self.place >= 2


def dqn(record: Record) -> None:
    """Replay memory, a target network followed softly, Huber's loss, clipped values."""
    random.seed(0)
    torch.manual_seed(0)

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))

    policy, target = network(), network()
    target.load_state_dict(policy.state_dict())
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2, amsgrad=True)
    memory: deque[Any] = deque(maxlen=100)
    corridor = Corridor()
    state = torch.tensor([corridor.reset()])
    for step in range(25):
        if random.random() < 0.5:
            action = torch.tensor([[random.randrange(2)]])
        else:
            with torch.no_grad():
                action = policy(state).max(1).indices.view(1, 1)
        seen, reward, done = corridor.step(action.item())
        following = None if done else torch.tensor([seen], dtype=torch.float32)
        memory.append((state, action, following, torch.tensor([reward])))
        state = torch.tensor([corridor.reset()]) if following is None else following
        if len(memory) < 8:
            continue
        states, actions, nexts, rewards = zip(*random.sample(memory, 8), strict=True)
        alive = torch.tensor([s is not None for s in nexts], dtype=torch.bool)
        values = policy(torch.cat(states)).gather(1, torch.cat(actions))
        expected = torch.zeros(8)
        if alive.any():
            with torch.no_grad():
                best = target(torch.cat([s for s in nexts if s is not None])).max(1).values
                expected[alive] = best
        expected = expected * 0.9 + torch.cat(rewards)
        loss = nn.SmoothL1Loss()(values, expected.unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy.parameters(), 0.5)
        record(f"loss {step}", loss)
        optimizer.step()
        mixed = target.state_dict()
        for key, value in policy.state_dict().items():
            mixed[key] = value * 0.1 + mixed[key] * 0.9
        target.load_state_dict(mixed)
    record("states", [policy.state_dict(), target.state_dict()])


def maml(record: Record) -> None:
    """Gradients through steps of gradient descent."""
    torch.manual_seed(9)
    weights = [torch.randn(8, 1), torch.zeros(8), torch.randn(1, 8) * 0.3, torch.zeros(1)]
    parameters = [nn.Parameter(w) for w in weights]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)

    def forward(x: Any, w: Any) -> Any:
        return F.linear(torch.tanh(F.linear(x, w[0], w[1])), w[2], w[3])

    for step in range(3):
        total = torch.zeros(())
        for _ in range(2):
            height, shift = torch.rand(()) + 0.5, torch.rand(()) * 3
            x = torch.rand(10, 1) * 4 - 2
            y = height * torch.sin(x + shift)
            fast: Any = parameters
            for _ in range(2):
                inner = F.mse_loss(forward(x[:5], fast), y[:5])
                slopes = torch.autograd.grad(inner, fast, create_graph=True)
                fast = [w - 0.1 * g for w, g in zip(fast, slopes, strict=True)]
            total = total + F.mse_loss(forward(x[5:], fast), y[5:])
        optimizer.zero_grad()
        total.backward()
        record(f"loss {step}", total)
        record("gradients", [p.grad for p in parameters])
        optimizer.step()
    record("parameters", parameters)


class Sequences(Dataset):
    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        lengths = torch.randint(1, 6, (23,), generator=generator).tolist()
        self.items = [torch.arange(n, dtype=torch.float32) / n + i for i, n in enumerate(lengths)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, dict[str, Any]]:
        x = self.items[index]
        return x, {"label": len(x) % 2, "weight": 1.0 / len(x), "name": f"item {index}"}


class Buckets(Sampler):
    """Batches of items of similar lengths, in random order."""

    def __init__(self, data: Sequences, size: int) -> None:
        order = sorted(range(len(data)), key=lambda i: len(data.items[i]))
        self.batches = [order[i : i + size] for i in range(0, len(order), size)]

    def __iter__(self) -> Iterator[list[int]]:
        for i in torch.randperm(len(self.batches)).tolist():
            yield self.batches[i]

    def __len__(self) -> int:
        return len(self.batches)


def padded(batch: list[Any]) -> tuple[Any, Any, Any]:
    sequences, facts = zip(*batch, strict=True)
    return (
        nn.utils.rnn.pad_sequence(list(sequences), batch_first=True),
        torch.tensor([len(s) for s in sequences]),
        torch.utils.data.default_collate(facts),
    )


def loaders(record: Record) -> None:
    """Workers, samplers, collating functions, splits: the same batches in the same order."""
    torch.manual_seed(21)
    data = Sequences()
    train, test = random_split(data, [0.8, 0.2], generator=torch.Generator().manual_seed(2))
    record("split", torch.tensor(list(train.indices)))
    ways: dict[str, dict[str, Any]] = {
        "workers": {
            "batch_sampler": Buckets(data, 4),
            "num_workers": 2,
            "persistent_workers": True,
        },
        "shuffled": {"batch_size": 5, "shuffle": True, "drop_last": True},
        "weighted": {
            "batch_size": 6,
            "sampler": WeightedRandomSampler([1.0 + i % 3 for i in range(23)], 12),
        },
    }
    model = nn.Linear(1, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    for name, options in ways.items():
        loader = DataLoader(data, collate_fn=padded, **options)
        for epoch in range(2):
            for x, lengths, facts in loader:
                mask = torch.arange(x.size(1))[None] < lengths[:, None]
                mean = (x * mask).sum(1, keepdim=True) / lengths[:, None]
                losses = F.cross_entropy(model(mean), facts["label"], reduction="none")
                loss = (losses * facts["weight"].float()).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                record(f"{name} {epoch}", [x, lengths, facts["label"], facts["weight"], loss])
    for x, facts in DataLoader(test):
        record("test", [x, facts["label"]])
    record("state", model.state_dict())


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, limit: float) -> Any:
        ctx.save_for_backward(x)
        ctx.limit = limit
        return x.clamp(-limit, limit)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> tuple[Any, None]:
        (x,) = ctx.saved_tensors
        grad = grad.clone()
        grad[x.abs() > ctx.limit] = 0
        return grad, None


def manual(record: Record) -> None:
    """What older tutorials do: variables, .data, a function of one's own, LBFGS with a closure."""
    torch.manual_seed(6)
    x, y = Variable(torch.randn(16, 3)), Variable(torch.randn(16, 2))
    w1, w2 = (Variable(torch.randn(*s) * 0.5, requires_grad=True) for s in ((3, 8), (8, 2)))
    for step in range(3):
        loss = (Clipped.apply(x.mm(w1), 1.0).mm(w2) - y).pow(2).sum()
        loss.backward()
        record(f"loss {step}", loss)
        record("gradients", [w1.grad, w2.grad])
        for w in (w1, w2):
            w.data -= 1e-2 * w.grad.data
            w.grad.data.zero_()
    model = nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 2)).double()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x.double()), y.double())
        loss.backward()
        return loss

    for step in range(2):
        record(f"closure {step}", optimizer.step(closure))
    record("state", model.state_dict())


PROGRAMS = {"dqn": dqn, "maml": maml, "loaders": loaders, "manual": manual}
