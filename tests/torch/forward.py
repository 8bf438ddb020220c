"""Time of the digits network in PyTorch, f32 on the CPU: what `sample` is
compared with.

The topology is that of `host-train/presets/digits.toml`; the weights are
random, as its initialisers leave them, which changes nothing about the time.
A batch of 100 pictures takes 20 forward runs, 10 batches make 1,000 pictures;
what a sampler computes between two runs is left out. Shown are wall and CPU
seconds: where other programs run too, the second divided by the threads is
what the first would be.

    python tests/torch/forward.py [--threads 2] [--batches 10]
"""

import argparse
import time

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = (24, 48)
GROUP, HEADS, FEATURES, EMBEDDING, CLASSES = 8, 4, 32, 96, 10
PATCH, SIZE, STEPS = 2, 28, 20


def norm(channels):
    return nn.GroupNorm(channels // GROUP, channels)


class Block(nn.Module):
    """A residual block that is told the time and class."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.embedding = nn.Linear(EMBEDDING, outputs)
        same = inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x, embedding):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.embedding(embedding)[:, :, None, None]
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.query, self.key, self.value, self.project = (
            nn.Conv2d(channels, channels, 1) for _ in range(4)
        )

    def forward(self, x):
        h = self.norm(x)
        heads = [
            layer(h).unflatten(1, (HEADS, -1)).flatten(3).transpose(2, 3)
            for layer in (self.query, self.key, self.value)
        ]
        h = F.scaled_dot_product_attention(*heads).transpose(2, 3)
        return x + self.project(h.reshape(x.shape))


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        low, high = CHANNELS
        pixels = PATCH * PATCH
        self.time1 = nn.Linear(FEATURES, EMBEDDING)
        self.time2 = nn.Linear(EMBEDDING, EMBEDDING)
        self.classes = nn.Embedding(CLASSES + 1, EMBEDDING)
        self.conv_in = nn.Conv2d(pixels, low, 3, padding=1)
        self.down0 = Block(low, low)
        self.downsample = nn.Conv2d(low, low, 3, stride=2, padding=1)
        self.down1 = Block(low, high)
        self.mid0, self.attention, self.mid1 = Block(high, high), Attention(high), Block(high, high)
        self.up1 = Block(2 * high, high)
        self.upsample = nn.Conv2d(high, low, 3, padding=1)
        self.up0 = Block(2 * low, low)
        self.norm, self.conv_out = norm(low), nn.Conv2d(low, pixels, 3, padding=1)

    def forward(self, x, t, classes):
        half = FEATURES // 2
        angles = t[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        features = torch.cat([angles.sin(), angles.cos()], 1)
        embedding = self.time2(F.silu(self.time1(features))) + self.classes(classes)
        embedding = F.silu(embedding)
        first = self.down0(self.conv_in(F.pixel_unshuffle(x, PATCH)), embedding)
        second = self.down1(self.downsample(first), embedding)
        h = self.mid1(self.attention(self.mid0(second, embedding)), embedding)
        h = self.up1(torch.cat([h, second], 1), embedding)
        h = self.upsample(F.interpolate(h, scale_factor=2))
        h = self.up0(torch.cat([h, first], 1), embedding)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm(h))), PATCH)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--batches", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    network = Unet().eval()
    classes = torch.arange(arguments.batch) % CLASSES
    with torch.inference_mode():
        x = torch.randn(arguments.batch, 1, SIZE, SIZE)
        network(x, torch.full((arguments.batch,), 500.0), classes)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(arguments.batches):
            for step in range(STEPS):
                t = torch.full((arguments.batch,), 1000.0 - 50 * step)
                network(x, t, classes)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    pictures = arguments.batch * arguments.batches
    parameters = sum(p.numel() for p in network.parameters())
    print(
        f"torch {torch.__version__}, {arguments.threads} threads, {parameters} parameters: "
        f"{pictures} pictures of {STEPS} steps in {wall:.2f} s, {cpu:.2f} s of CPU time"
    )


if __name__ == "__main__":
    main()
