"""The workloads of layers.rs in PyTorch: a line `name threads steps` comes in, wall and CPU seconds of a step go out."""

import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

WIDTH, TOKENS, HEADS = 128, 16, 4
STEPS, INPUTS = 64, 32


class Attention(nn.Module):
    """Self-attention along steps (with rotary positions) or along rows, norm first."""

    def __init__(self, along):
        super().__init__()
        self.along = along
        self.norm = nn.RMSNorm(WIDTH, eps=1e-6)
        self.packed = nn.Linear(WIDTH, 3 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)
        size = WIDTH // HEADS
        angles = torch.arange(TOKENS)[:, None] * 10_000.0 ** (-torch.arange(0, size, 2) / size)
        self.register_buffer("cos", torch.cat([angles.cos()] * 2, 1))
        self.register_buffer("sin", torch.cat([angles.sin()] * 2, 1))

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        return x * self.cos + torch.cat([-b, a], -1) * self.sin

    def forward(self, x):
        batch, rows, steps, _ = x.shape
        split = self.packed(self.norm(x)).view(batch, rows, steps, 3, HEADS, WIDTH // HEADS)
        if self.along == "steps":
            q, k, v = split.flatten(0, 1).permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v)
            seen = seen.transpose(1, 2).reshape(x.shape)
        else:
            q, k, v = split.permute(3, 0, 2, 4, 1, 5).flatten(1, 2)
            seen = F.scaled_dot_product_attention(q, k, v)
            seen = seen.view(batch, steps, HEADS, rows, -1).permute(0, 3, 1, 2, 4).reshape(x.shape)
        return self.output(seen)


class Block(nn.Module):
    """What TransformerBlock is."""

    def __init__(self):
        super().__init__()
        self.time, self.group = Attention("steps"), Attention("rows")
        self.feed = nn.Sequential(
            nn.RMSNorm(WIDTH, eps=1e-6), nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x):
        x = x + self.time(x)
        x = x + self.group(x)
        return x + self.feed(x)


class Residual(nn.Module):
    """What ResidualBlock is."""

    def __init__(self, inputs, outputs, norm):
        super().__init__()
        self.hidden, self.output = nn.Linear(inputs, 256), nn.Linear(256, outputs)
        self.skip = nn.Linear(inputs, outputs)
        self.norm = nn.LayerNorm(outputs) if norm else nn.Identity()

    def forward(self, x):
        return self.norm(self.output(F.relu(self.hidden(x))) + self.skip(x))


class Recurrent(nn.Module):
    """One recurrent layer; the last state goes on."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell(INPUTS, WIDTH)

    def forward(self, x):
        return self.cell(x)[0][-1]


def workload(name):
    """Body, width of the head, example."""
    if name == "transformer":
        return nn.Sequential(*(Block() for _ in range(4))), WIDTH, torch.randn(256, 1, TOKENS, WIDTH)
    if name == "dense":
        sizes = [(512, 256, True), (256, 256, True), (256, 256, True), (256, 64, False)]
        return nn.Sequential(*(Residual(*s) for s in sizes)), 64, torch.randn(1024, 512)
    return Recurrent(nn.GRU if name == "gru" else nn.LSTM), WIDTH, torch.randn(STEPS, 256, INPUTS)


def main():
    """Answers until the input ends."""
    made = {}
    for line in sys.stdin:
        name, threads, steps = line.split()
        torch.set_num_threads(int(threads))
        if name not in made:
            body, width, x = workload(name)
            model = nn.Sequential(body, nn.Linear(width, 1))
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), fused=True)
            made[name] = model, optimizer, x, torch.randn_like(model(x).detach())
        model, optimizer, x, y = made[name]

        def step():
            optimizer.zero_grad(set_to_none=True)
            F.mse_loss(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        def forward():
            with torch.inference_mode():
                model(x)

        run = forward if name.endswith("forward") else step
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(steps)):
            run()
        print((time.perf_counter() - wall) / int(steps), (time.process_time() - cpu) / int(steps), flush=True)


if __name__ == "__main__":
    main()
