"""A small GPT that writes Python, or Shakespeare: byte-pair tokens, causal attention, samples.

A tokenizer (Hugging Face ``tokenizers``) is trained on the text, then a decoder-only transformer
learns to say the next token. The text is the Python library's own source, which needs no download,
or tiny Shakespeare with ``--data shakespeare``. The yardstick is the unigram entropy: what one must
lose who knows how often each token occurs, and nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F

VOCABULARY = 1024


class Block(nn.Module):
    """Attention to what came before, then a network for each place; both added to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.back = nn.Linear(width, 3 * width), nn.Linear(width, width)
        wide = 4 * width
        self.think = nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        batch, length, width = x.shape
        parts = self.to_qkv(self.norm1(x)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.back(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.think(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, length: int, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.length = length
        self.token, self.place = nn.Embedding(VOCABULARY, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False)
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Embedding)):
                nn.init.normal_(layer.weight, std=0.02)
        self.out.weight = self.token.weight  # one table for reading and writing

    def forward(self, tokens: tg.Tensor) -> tg.Tensor:
        """(batch, length) tokens to (batch, length, vocabulary) scores of the next ones."""
        x = self.token(tokens) + self.place(tg.arange(tokens.shape[1]))
        return self.out(self.norm(self.blocks(x)))

    def write(self, tokens: list[int], count: int, temperature: float = 0.8) -> list[int]:
        """Goes on after ``tokens``, drawing each next one by its probability."""
        for _ in range(count):
            scores = self(tg.tensor([tokens[-self.length :]]))[0, -1] / temperature
            tokens = [*tokens, int(tg.multinomial(scores.softmax(dim=0), 1))]
        return tokens


def tokenize(text: str):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=tokenizer.pre_tokenizer.alphabet()
    )
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return tokenizer


def loss_on(model: GPT, tokens: tg.Tensor, size: int) -> tg.Tensor:
    """Random pieces of the text; the right answers are the same pieces, moved on by one token."""
    starts = tg.randint(0, len(tokens) - model.length - 1, (size, 1))
    pieces = tokens[starts + tg.arange(model.length + 1)]
    return F.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())


def train(model: GPT, tokens: tg.Tensor, steps: int, size: int = 16) -> list[float]:
    optimizer = tg.optim.AdamW(model.parameters(), weight_decay=0.1, betas=(0.9, 0.95))
    schedule = tg.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    losses = []
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = loss_on(model, tokens, size)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0 or step == steps:
            print(f"step {step}/{steps}: loss {losses[-1]:.3f}", flush=True)
    return losses


def draw(losses: list[float], unigram: float, held_out: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    _, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    axis.plot(losses, lw=0.7, label="training loss")
    axis.axhline(unigram, color="gray", ls=":", label=f"unigram entropy {unigram:.2f}")
    axis.axhline(held_out, color="C1", ls="--", label=f"held-out text {held_out:.2f}")
    axis.set(xlabel="step", ylabel="nats per token", ylim=(0, None))
    axis.legend()
    plt.savefig(path, dpi=75)
    plt.close()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("python", "shakespeare"), default="python")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--characters", type=int, default=1_500_000, help="how much text")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    tg.manual_seed(options.seed)
    source = {"python": datasets.python_source, "shakespeare": datasets.tiny_shakespeare}
    text = source[options.data]()[: options.characters]
    tokenizer = tokenize(text[: len(text) * 9 // 10])
    tokens = tg.tensor(tokenizer.encode(text).ids)
    cut = len(tokens) * 9 // 10
    shares = tg.bincount(tokens[:cut], minlength=VOCABULARY) / cut
    unigram = tg.special.entr(shares).sum().item()
    print(f"{len(text):,} characters are {len(tokens):,} tokens")

    model = GPT(length=96, width=128, heads=4, blocks=4)
    losses = train(model, tokens[:cut], options.steps)
    with tg.no_grad():
        held_out = sum(loss_on(model, tokens[cut:], 32).item() for _ in range(10)) / 10
        written = tokenizer.decode(model.write(tokens[cut : cut + 10].tolist(), 150))
    draw(losses, unigram, held_out, options.out / "gpt.png")
    print(f"--- a sample ---\n{written}\n----------------")
    print(f"nats per token: unigram {unigram:.2f}, held-out text {held_out:.2f}; see {options.out}")
    return {"unigram": unigram, "held out": held_out}


if __name__ == "__main__":
    main()
