"""Programs as users write them about images and latent variables; see programs_text.py."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from einops.layers.torch import Rearrange

Record = Callable[[str, Any], None]


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Any) -> Any:
        y = F.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        y += self.shortcut(x)
        return F.relu(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(True)
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.Sequential(Residual(16, 16, 1), Residual(16, 32, 2))
        self.narrow = nn.Conv2d(32, 32, 5, 2, 2)
        self.out = nn.Linear(32, 5)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Any) -> Any:
        x = self.narrow(self.stages(self.pool(self.stem(x))))
        return self.out(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def resnet(record: Record) -> None:
    """SGD with Nesterov's momentum and a cosine, a checkpoint in between, then evaluation."""
    torch.manual_seed(0)
    model = ResNet()

    def tools(model: nn.Module) -> tuple[Any, Any]:
        optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=5e-4, nesterov=True)
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)

    optimizer, schedule = tools(model)
    images, labels = torch.randn(6, 3, 64, 64), torch.randint(0, 5, (6,))
    for step in range(4):
        if step == 2:
            file = io.BytesIO()
            parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
            torch.save({"epoch": step, **{k: v.state_dict() for k, v in parts.items()}}, file)
            file.seek(0)
            saved = torch.load(file, map_location="cpu", weights_only=True)
            model = ResNet()
            optimizer, schedule = tools(model)
            missing, unexpected = model.load_state_dict(saved["model"])
            assert not missing and not unexpected and saved["epoch"] == 2
            optimizer.load_state_dict(saved["optimizer"])
            schedule.load_state_dict(saved["schedule"])
        optimizer.zero_grad()
        outputs = model(images)
        loss = F.cross_entropy(outputs, labels)
        loss.backward()
        record(f"loss {step}", loss)
        record("gradients", [p.grad for p in model.parameters()])
        optimizer.step()
        schedule.step()
        record("rate", torch.tensor(schedule.get_last_lr()))
        record("correct", outputs.max(1)[1].eq(labels).sum())
    model.eval()
    with torch.no_grad():
        record("evaluated", model(images))
    record("state", model.state_dict())


class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 16, 4, 2, 1), nn.Flatten()
        )
        self.mean, self.log_variance = nn.Linear(16 * 16, 4), nn.Linear(16 * 16, 4)
        self.decoder = nn.Sequential(
            nn.Linear(4, 16 * 16),
            nn.Unflatten(1, (16, 4, 4)),
            nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, 2, 1),
        )

    def forward(self, x: Any) -> tuple[Any, Any, Any]:
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(z), mean, log_variance


def vae(record: Record) -> None:
    """The reparametrization trick, checked against torch.distributions."""
    torch.manual_seed(2)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x = torch.rand(5, 1, 16, 16)
    for step in range(4):
        logits, mean, log_variance = model(x)
        rebuilt = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
        prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
        exact = torch.distributions.kl_divergence(posterior, prior).sum()
        assert torch.allclose(exact, divergence, rtol=1e-3)
        optimizer.zero_grad()
        (rebuilt + divergence).backward()
        record(f"loss {step}", rebuilt + divergence)
        record("gradients", [p.grad for p in model.parameters()])
        optimizer.step()
    record("state", model.state_dict())


def gan(record: Record) -> None:
    """Two optimizers in turn, spectral normalization, a gradient penalty by double backward."""
    torch.manual_seed(5)
    generator = nn.Sequential(
        nn.Linear(6, 32, bias=False), nn.BatchNorm1d(32, 0.8), nn.LeakyReLU(0.2, inplace=True),
        nn.Linear(32, 64), nn.Tanh(),
    )  # fmt: skip
    norm = torch.nn.utils.spectral_norm
    critic = nn.Sequential(
        norm(nn.Linear(64, 32)), nn.LeakyReLU(0.2, inplace=True), norm(nn.Linear(32, 1))
    )
    for_generator = torch.optim.RMSprop(generator.parameters(), lr=1e-3)
    # Some gradients of the critic's biases cancel but for rounding: with the usual eps, Adam would
    # make steps of full size of that.
    for_critic = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9), eps=1e-4)
    for step in range(3):
        real = torch.randn(8, 64).clamp(-1, 1)
        fake = generator(torch.randn(8, 6))
        mix = torch.rand(8, 1)
        between = (mix * real + (1 - mix) * fake.detach()).requires_grad_(True)
        slope = torch.autograd.grad(
            critic(between), between, torch.ones(8, 1), create_graph=True, retain_graph=True
        )[0]
        penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
        loss = critic(fake.detach()).mean() - critic(real).mean() + 10 * penalty
        for_critic.zero_grad()
        loss.backward()
        record(f"critic {step}", loss)
        record("gradients", [p.grad for p in critic.parameters()])
        for_critic.step()
        for p in critic.parameters():
            p.requires_grad_(False)
        loss = -critic(fake).mean()
        for_generator.zero_grad()
        loss.backward()
        record(f"generator {step}", loss)
        record("gradients", [p.grad for p in generator.parameters()])
        for_generator.step()
        for p in critic.parameters():
            p.requires_grad_(True)
    record("state", [generator.state_dict(), critic.state_dict()])


class Denoiser(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.start = nn.Conv2d(1, width, 3, padding=1)
        self.down = nn.Sequential(
            nn.GroupNorm(4, width), nn.SiLU(), nn.Conv2d(width, width, 4, 2, 1)
        )
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1))
        self.out = nn.Conv2d(2 * width, 1, 1)

    def forward(self, x: Any, t: Any) -> Any:
        start = self.start(x)
        width = start.shape[1]
        rates = torch.exp(torch.arange(width // 2) * -(9.21 / (width // 2 - 1)))
        angles = rearrange(t.float(), "b -> b 1") * rearrange(rates, "w -> 1 w")
        time = self.time(torch.cat((angles.sin(), angles.cos()), dim=-1))
        h = self.down(start) + rearrange(time, "b c -> b c 1 1")
        height = h.shape[2]
        q, k, v = (
            rearrange(part, "b (h c) x y -> b h (x y) c", h=2)
            for part in self.qkv(h).chunk(3, dim=1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        h = h + rearrange(mixed, "b h (x y) c -> b (h c) x y", x=height)
        return self.out(torch.cat((self.up(h), start), dim=1))


def diffusion(record: Record) -> None:
    """Noise predicted at random times, an average of the weights, steps of the reverse process."""
    torch.manual_seed(11)
    model = Denoiser()
    average = copy.deepcopy(model).requires_grad_(False)
    betas = torch.linspace(1e-4, 0.02, 50, dtype=torch.float64).float()
    kept = torch.cumprod(1 - betas, dim=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images = torch.rand(4, 1, 16, 16) * 2 - 1
    for step in range(3):
        t, noise = torch.randint(0, 50, (4,)), torch.randn_like(images)
        scale = kept.gather(-1, t).reshape(-1, 1, 1, 1)
        noisy = scale.sqrt() * images + (1 - scale).sqrt() * noise
        each = reduce(F.mse_loss(model(noisy, t), noise, reduction="none"), "b ... -> b", "mean")
        loss = (each * torch.minimum(kept[t] / (1 - kept[t]), torch.tensor(5.0))).mean()
        optimizer.zero_grad()
        loss.backward()
        record(f"loss {step}", loss)
        record("gradients", [p.grad for p in model.parameters()])
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 0.1)
    x = torch.randn(2, 1, 16, 16)
    with torch.inference_mode():
        for i in reversed(range(0, 50, 10)):
            guess = average(x, repeat(torch.tensor(i), "-> b", b=2))
            clean = ((x - (1 - kept[i]).sqrt() * guess) / kept[i].sqrt()).clamp(-1, 1)
            before = kept[i - 10] if i else torch.tensor(1.0)
            x = before.sqrt() * clean + (1 - before).sqrt() * guess
    record("sample", x)
    record("state", average.state_dict())


def einops(record: Record) -> None:
    """einops finds the library that it works on in sys.modules."""
    torch.manual_seed(4)
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    patches = nn.Sequential(
        Rearrange("b c (h p) (w q) -> b (h w) (p q c)", p=4, q=4),
        nn.LayerNorm(48),
        nn.Linear(48, 6),
    )
    y = patches(x)
    record("patches", y)
    record("largest", reduce(y, "b n (h d) -> b h", "max", h=2))
    record("repeated", repeat(y, "b n d -> (b r) n d", r=2))
    reduce(y**2, "b n d -> ", "mean").backward()
    record("gradients", [x.grad, *(p.grad for p in patches.parameters())])


PROGRAMS = {
    "resnet": resnet,
    "vae": vae,
    "gan": gan,
    "diffusion": diffusion,
    "einops": einops,
}
