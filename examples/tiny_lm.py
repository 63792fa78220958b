"""A language model of bytes, small enough for a laptop: trains for some seconds and prints its loss.

The script does not use Studio. docs/autoresearch.md searches over the constants in capitals.
"""

import argparse
import time
from pathlib import Path

import numpy as np

LR = 3e-3
BATCH = 64
CONTEXT = 8  # bytes before the predicted one
EMBED = 16
WIDTH = 128
DECAY = 1e-4
WARMUP = 50
SECONDS = 3.0  # of training
MEMORY = 8e6  # bytes for weights, their moments and one batch, as on a small GPU

text = np.frombuffer(Path(argparse.__file__).read_bytes(), dtype=np.uint8)
train, valid = text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :]

rng = np.random.default_rng(0)
weights = {
    "embed": rng.normal(0, 0.1, (256, EMBED)),
    "in": rng.normal(0, (CONTEXT * EMBED) ** -0.5, (CONTEXT * EMBED, WIDTH)),
    "bias": np.zeros(WIDTH),
    "out": rng.normal(0, WIDTH**-0.5, (WIDTH, 256)),
}
needed = 3 * sum(w.nbytes for w in weights.values()) + 8 * BATCH * (CONTEXT * EMBED + 2 * WIDTH + 2 * 256)
if needed > MEMORY:
    raise MemoryError(f"{needed / 1e6:.1f} MB are needed, there are {MEMORY / 1e6:.1f}")


def batch(data, starts):
    return data[starts[:, None] + np.arange(CONTEXT)], data[starts + CONTEXT]


def forward(x):
    seen = weights["embed"][x].reshape(len(x), -1)
    hidden = np.tanh(seen @ weights["in"] + weights["bias"])
    logits = hidden @ weights["out"]
    logits -= logits.max(1, keepdims=True)
    return seen, hidden, logits - np.log(np.exp(logits).sum(1, keepdims=True))


def gradients(x, y):
    seen, hidden, log = forward(x)
    error = np.exp(log)
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    inner = (error @ weights["out"].T) * (1 - hidden**2)
    embed = np.zeros_like(weights["embed"])
    np.add.at(embed, x, (inner @ weights["in"].T).reshape(*x.shape, EMBED))
    return {"embed": embed, "in": seen.T @ inner, "bias": inner.sum(0), "out": hidden.T @ error}


first = {name: np.zeros_like(w) for name, w in weights.items()}
second = {name: np.zeros_like(w) for name, w in weights.items()}
step, start = 0, time.process_time()
while time.process_time() - start < SECONDS:
    step += 1
    done = (time.process_time() - start) / SECONDS
    rate = LR * min(1.0, step / WARMUP) * (1 - 0.9 * done)
    for name, g in gradients(*batch(train, rng.integers(0, len(train) - CONTEXT - 1, BATCH))).items():
        first[name] += 0.1 * (g - first[name])
        second[name] += 0.01 * (g * g - second[name])
        move = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.99**step)) + 1e-8)
        weights[name] -= rate * (move + DECAY * weights[name])

x, y = batch(valid, np.arange(len(valid) - CONTEXT - 1))
val_bpb = -forward(x)[2][np.arange(len(y)), y].mean() / np.log(2)
print(f"steps: {step}")
print(f"val_bpb: {val_bpb:.4f}")
