"""Programs as users write them about text and graphs: each takes a function that records tensors.

They import torch, and are run once on PyTorch and once on tilegrad in its place. Dropout is left
out, since its random stream is not PyTorch's, and so are biases that change nothing: their
gradients are rounding errors, which Adam would blow up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Record = Callable[[str, Any], None]


@dataclass
class GPTConfig:
    tokens: int = 17
    context: int = 12
    width: int = 24
    heads: int = 3
    blocks: int = 2


class Block(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.before_attention, self.before_mlp = (
            nn.LayerNorm(config.width),
            nn.LayerNorm(config.width),
        )
        self.to_qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, 4 * config.width),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * config.width, config.width),
        )
        hidden = torch.tril(torch.ones(config.context, config.context)) == 0
        self.register_buffer("hidden", hidden, persistent=False)

    def forward(self, x: Any) -> Any:
        batch, length, width = x.shape
        parts = self.to_qkv(self.before_attention(x)).split(width, dim=2)
        q, k, v = (p.view(batch, length, self.heads, -1).transpose(1, 2) for p in parts)
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.size(-1))
        scores = scores.masked_fill(self.hidden[:length, :length], float("-inf"))
        mixed = (F.softmax(scores, dim=-1) @ v).transpose(1, 2).contiguous()
        x = x + self.out(mixed.view(batch, length, width))
        return x + self.mlp(self.before_mlp(x))


class GPT(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.parts = nn.ModuleDict(
            {
                "token": nn.Embedding(config.tokens, config.width),
                "place": nn.Embedding(config.context, config.width),
                "blocks": nn.ModuleList([Block(config) for _ in range(config.blocks)]),
                "norm": nn.LayerNorm(config.width),
            }
        )
        self.head = nn.Linear(config.width, config.tokens, bias=False)
        self.parts.token.weight = self.head.weight
        self.apply(self.start)
        for name, p in self.named_parameters():
            if name.endswith("out.weight"):
                nn.init.normal_(p, mean=0.0, std=0.02 / math.sqrt(2 * config.blocks))

    @staticmethod
    def start(module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, ids: Any, targets: Any = None) -> Any:
        places = torch.arange(ids.size(1), device=ids.device)
        x = self.parts.token(ids) + self.parts.place(places)[None]
        for block in self.parts.blocks:
            x = block(x)
        logits = self.head(self.parts.norm(x))
        if targets is None:
            return logits, None
        loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss

    @torch.no_grad()
    def generate(self, ids: Any, count: int, top: int) -> Any:
        for _ in range(count):
            logits = self(ids[:, -self.config.context :])[0][:, -1] / 0.8
            kept, _ = torch.topk(logits, top)
            logits[logits < kept[:, [-1]]] = -float("inf")
            chances = F.softmax(logits, dim=-1).cumsum(-1)
            drawn = (chances < torch.rand(ids.size(0), 1)).sum(-1, keepdim=True)
            ids = torch.cat((ids, drawn), dim=1)
        return ids


def gpt(record: Record) -> None:
    """Weights tied, AdamW with two groups, clipped gradients, a schedule, accumulated batches."""
    torch.manual_seed(1337)
    model = GPT(GPTConfig())
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    other = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}],
        lr=3e-3,
        betas=(0.9, 0.95),
    )
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 3))
    text = torch.randint(0, 17, (200,))
    for step in range(4):
        for _ in range(2):
            starts = torch.randint(0, 188, (3,)).tolist()
            x = torch.stack([text[i : i + 12] for i in starts])
            y = torch.stack([text[i + 1 : i + 13] for i in starts])
            y[0, :4] = -1
            loss = model(x, y)[1] / 2
            loss.backward()
            record(f"loss {step}", loss)
        record("norm", nn.utils.clip_grad_norm_(model.parameters(), 1.0))
        optimizer.step()
        warm.step()
        optimizer.zero_grad(set_to_none=True)
    assert model.parts.token.weight is model.head.weight
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in decayed + other)
    record("generated", model.eval().generate(text[None, :5], 10, top=5))
    record("state", model.state_dict())


class Encoder(nn.Module):
    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.rnn = nn.GRU(width, width, bidirectional=True, batch_first=True)
        self.join = nn.Linear(2 * width, width)

    def forward(self, ids: Any, lengths: Any) -> tuple[Any, Any]:
        packed = pack_padded_sequence(
            self.embedding(ids), lengths, batch_first=True, enforce_sorted=False
        )
        states, last = self.rnn(packed)
        states, _ = pad_packed_sequence(states, batch_first=True, total_length=ids.size(1))
        return states, torch.tanh(self.join(torch.cat((last[-2], last[-1]), dim=1)))


class Decoder(nn.Module):
    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.score = nn.Sequential(
            nn.Linear(3 * width, width), nn.Tanh(), nn.Linear(width, 1, False)
        )
        self.cell = nn.GRUCell(3 * width, width)
        self.out = nn.Linear(4 * width, words)

    def forward(self, word: Any, hidden: Any, states: Any, padding: Any) -> tuple[Any, Any]:
        repeated = hidden.unsqueeze(1).repeat(1, states.size(1), 1)
        scores = self.score(torch.cat((repeated, states), dim=2)).squeeze(2)
        weights = scores.masked_fill(padding, -1e10).softmax(dim=1)
        context = torch.bmm(weights.unsqueeze(1), states).squeeze(1)
        hidden = self.cell(torch.cat((self.embedding(word), context), dim=1), hidden)
        return self.out(torch.cat((hidden, context, self.embedding(word)), dim=1)), hidden


def seq2seq(record: Record) -> None:
    """Packed sequences, attention, teacher forcing by coin, uneven lengths, two optimizers."""
    torch.manual_seed(7)
    words, width = 11, 8
    encoder, decoder = Encoder(words, width), Decoder(words, width)
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-2) for m in (encoder, decoder)]
    lengths = torch.tensor([5, 7, 3, 1])
    source = torch.randint(1, words, (4, 7))
    source[torch.arange(7)[None] >= lengths[:, None]] = 0
    target = torch.randint(1, words, (4, 6))
    criterion = nn.CrossEntropyLoss(ignore_index=0, label_smoothing=0.1)
    for step in range(4):
        for optimizer in optimizers:
            optimizer.zero_grad()
        states, hidden = encoder(source, lengths)
        outputs = torch.zeros(4, 6, words)
        word = target[:, 0]
        for t in range(1, 6):
            outputs[:, t], hidden = decoder(word, hidden, states, source == 0)
            word = target[:, t] if torch.rand(()) < 0.5 else outputs[:, t].argmax(1)
        loss = criterion(outputs[:, 1:].reshape(-1, words), target[:, 1:].reshape(-1))
        loss.backward()
        record(f"loss {step}", loss)
        record("gradients", [p.grad for m in (encoder, decoder) for p in m.parameters()])
        for module, optimizer in zip((encoder, decoder), optimizers, strict=True):
            nn.utils.clip_grad_norm_(module.parameters(), 1)
            optimizer.step()
    record("state", {**encoder.state_dict(), **decoder.state_dict(prefix="decoder.")})


class GraphAttention(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.attention = nn.Parameter(torch.empty(2 * outputs))
        nn.init.uniform_(self.attention, -0.5, 0.5)

    def forward(self, x: Any, edges: Any) -> Any:
        h = self.linear(x)
        source, target = edges
        score = F.leaky_relu(torch.cat((h[source], h[target]), 1) @ self.attention, 0.2)
        peak = torch.full((len(x),), -1e9).scatter_reduce(0, target, score.detach(), "amax")
        weight = torch.exp(score - peak[target])
        total = torch.zeros(len(x)).index_add(0, target, weight)
        alpha = weight / total[target].clamp(min=1e-9)
        return torch.zeros_like(h).index_add_(0, target, alpha[:, None] * h[source])


def graph(record: Record) -> None:
    """Attention over the edges of a graph by index_add and scatter; mean pooling by scatter_add."""
    torch.manual_seed(3)
    nodes, edges = 14, torch.randint(0, 14, (2, 40))
    edges = torch.cat((edges, torch.arange(nodes).repeat(2, 1)), dim=1).unique(dim=1)
    x, graph_of = torch.randn(nodes, 6), torch.arange(nodes) // 5
    first, second, last = GraphAttention(6, 8), GraphAttention(8, 8), nn.Linear(8, 3)
    parameters = [p for m in (first, second, last) for p in m.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=5e-3, weight_decay=5e-4)
    counts = torch.bincount(graph_of, minlength=3).float()
    for step in range(4):
        h = F.elu(second(F.elu(first(x, edges)), edges))
        pooled = torch.zeros(3, 8).scatter_add(0, graph_of[:, None].expand_as(h), h)
        loss = F.nll_loss(
            F.log_softmax(last(pooled / counts[:, None]), dim=1), torch.tensor([0, 2, 1])
        )
        optimizer.zero_grad()
        loss.backward()
        record(f"loss {step}", loss)
        record("gradients", [p.grad for p in parameters])
        optimizer.step()
    degree = torch.zeros(nodes).scatter_add_(0, edges[1], torch.ones(edges.size(1)))
    record("degree", degree)
    record("parameters", parameters)


PROGRAMS = {"gpt": gpt, "seq2seq": seq2seq, "graph": graph}
