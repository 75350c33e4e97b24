"""Makes tiny.json: logits of the tiny random models, in float64.

    go test ./internal/forward -run TestTinyGoldens -dump /tmp/tiny
    python internal/forward/testdata/make_logits.py /tmp/tiny

The first command writes the models that modeltest makes from seeds, and
manifest.json, which says what to compute; the golden keeps each model's
SHA-256, so a test against another model fails. The forward pass below is
written from the equations of the architectures (llama: Touvron et al. 2023;
phi2: model card and GGUF conventions), not from our Go code.

Made with Python 3.12, numpy 2.4.6, gguf 0.19.0.
"""
import json
import pathlib
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


class Model:
    """A GGUF file as float64 arrays in the shapes of torch."""

    def __init__(self, path):
        reader = GGUFReader(path)
        self.keys = {k: f.contents() for k, f in reader.fields.items()}
        self.tensors = {
            t.name: dequantize(t.data, t.tensor_type).astype(np.float64).reshape(t.shape[::-1])
            for t in reader.tensors
        }
        self.arch = self.keys["general.architecture"]

    def key(self, name):
        return self.keys[f"{self.arch}.{name}"]


def splitmix(seed):
    mask = (1 << 64) - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield z ^ (z >> 31)


def random_adapter(spec, model):
    """The adapter of the manifest: the numbers that the Go test draws."""
    draw = splitmix(spec["seed"])

    def uniform(rows, cols, scale):
        u = np.array([next(draw) >> 11 for _ in range(rows * cols)], dtype=np.float64) / (1 << 52) - 1
        return (u * scale).astype(np.float32).astype(np.float64).reshape(rows, cols)

    pairs = {}
    for layer in range(model.key("block_count")):
        for slot, (n_out, n_in) in spec["slots"].items():
            a = uniform(spec["rank"], n_in, 1 / np.sqrt(n_in))
            b = uniform(n_out, spec["rank"], 0.5)
            pairs[f"blk.{layer}.{slot}"] = (a, b)
    return spec["alpha"] / spec["rank"], pairs


def rms_norm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def layer_norm(x, w, b, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * w + b


def rotate(x, dims, base, factors, halves):
    """x is (positions, heads, head_dim)."""
    i = np.arange(dims // 2)
    theta = np.arange(len(x))[:, None] * (base ** (-2.0 * i / dims) / factors)
    cos, sin = np.cos(theta)[:, None, :], np.sin(theta)[:, None, :]
    first, second = (slice(0, dims // 2), slice(dims // 2, dims)) if halves else (slice(0, dims, 2), slice(1, dims, 2))
    out = x.copy()
    a, b = x[..., first], x[..., second]
    out[..., first] = a * cos - b * sin
    out[..., second] = a * sin + b * cos
    return out


def forward(model, ids, adapter=None):
    t, phi = model.tensors, model.arch == "phi2"
    heads, kv_heads = model.key("attention.head_count"), model.key("attention.head_count_kv")
    dim = model.key("embedding_length") // heads
    eps = np.float64(np.float32(model.key("attention.layer_norm_epsilon" if phi else "attention.layer_norm_rms_epsilon")))
    rotary, base = model.key("rope.dimension_count"), model.key("rope.freq_base")
    factors = t.get("rope_freqs.weight", np.ones(rotary // 2))
    n = len(ids)

    def norm(x, name):
        if phi:
            return layer_norm(x, t[name + ".weight"], t[name + ".bias"], eps)
        return rms_norm(x, t[name + ".weight"], eps)

    def weight_of(name):
        blk, _, slot = name.rpartition(".")
        fused = blk + ".attn_qkv.weight"
        if fused not in t or slot not in ("attn_q", "attn_k", "attn_v"):
            return t[name + ".weight"], t.get(name + ".bias")
        cuts = [heads * dim, (heads + kv_heads) * dim]
        at = ("attn_q", "attn_k", "attn_v").index(slot)
        bias = t.get(blk + ".attn_qkv.bias")
        return np.split(t[fused], cuts)[at], None if bias is None else np.split(bias, cuts)[at]

    def linear(x, name):
        w, bias = weight_of(name)
        y = x @ w.T
        if adapter and name in adapter[1]:
            a, b = adapter[1][name]
            y = y + adapter[0] * ((x @ a.T) @ b.T)
        return y if bias is None else y + bias

    def attention(x, blk):
        q = linear(x, blk + "attn_q").reshape(n, heads, dim)
        k = linear(x, blk + "attn_k").reshape(n, kv_heads, dim)
        v = linear(x, blk + "attn_v").reshape(n, kv_heads, dim)
        q, k = rotate(q, rotary, base, factors, phi), rotate(k, rotary, base, factors, phi)
        k, v = np.repeat(k, heads // kv_heads, 1), np.repeat(v, heads // kv_heads, 1)
        score = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(dim)
        score = np.where(np.triu(np.ones((n, n), bool), 1)[None], -np.inf, score)
        score = np.exp(score - score.max(-1, keepdims=True))
        score /= score.sum(-1, keepdims=True)
        return linear(np.einsum("hij,jhd->ihd", score, v).reshape(n, heads * dim), blk + "attn_output")

    def mlp(x, blk):
        up = linear(x, blk + "ffn_up")
        if phi:
            inner = 0.5 * up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
        else:
            gate = linear(x, blk + "ffn_gate")
            inner = gate / (1 + np.exp(-gate)) * up
        return linear(inner, blk + "ffn_down")

    x = t["token_embd.weight"][ids]
    for layer in range(model.key("block_count")):
        blk = f"blk.{layer}."
        normed = norm(x, blk + "attn_norm")
        if phi:
            x = x + attention(normed, blk) + mlp(normed, blk)
        else:
            x = x + attention(normed, blk)
            x = x + mlp(norm(x, blk + "ffn_norm"), blk)
    x = norm(x, "output_norm")
    return linear(x, "output") if "output.weight" in t else x @ t["token_embd.weight"].T


def main():
    folder = pathlib.Path(sys.argv[1])
    cases = json.loads((folder / "manifest.json").read_text())
    for case in cases:
        model = Model(folder / case["file"])
        adapter = random_adapter(case["adapter"], model) if case.get("adapter") else None
        logits = forward(model, case["ids"], adapter)
        case["logits"] = {str(p): [float(f"{v:.9g}") for v in logits[p]] for p in case["positions"]}
    out = pathlib.Path(__file__).parent / "tiny.json"
    out.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
