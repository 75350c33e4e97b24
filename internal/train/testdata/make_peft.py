"""Makes peft.safetensors: 50 steps of LoRA training of SmolLM2-135M-Instruct by
transformers and PEFT in float32, on the weights of the Q4_1 file dequantised.

    go test ./internal/train -run TestParityWithPEFT -dump /tmp/peft
    python internal/train/testdata/make_peft.py /tmp/peft

The first command writes case.json (options, and the sequences of every batch as
our loop deals them) and start.safetensors (the adapter before the first step).
With final.safetensors in the folder too (what our loop came to, written by the
test when AFINA_PARITY names it) the cosine of every matrix is printed.

The golden holds the losses, a sketch of every final matrix (32 sums with random
signs) and two pairs in full.

Made with Python 3.11, torch 2.15.0, transformers 5.23.0, peft 0.21.2, gguf 0.19.0.
"""
import hashlib
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import get_linear_schedule_with_warmup

here = pathlib.Path(__file__).resolve().parent
sys.path.append(str(here.parents[1] / "graph" / "testdata"))
import hf  # noqa: E402

IN_FULL = ("blk.0.attn_q", "blk.29.ffn_down")


def signs(n):
    """(n, 32) of ±1: the low bits of SplitMix64 of the index."""
    z = (np.arange(1, n + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    bits = (z[:, None] >> np.arange(32, dtype=np.uint64)) & np.uint64(1)
    return 1.0 - 2.0 * bits.astype(np.float64)


def train(model, f, case):
    params = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(params, lr=case["learning_rate"], weight_decay=case["weight_decay"])
    schedule = get_linear_schedule_with_warmup(adam, case["warmup"], len(case["steps"]))
    losses = []
    for step in case["steps"]:
        total, counted = 0.0, 0
        for s in step:
            loss, n = hf.loss_sum(model, s["tokens"], s["learn"])
            loss.backward()
            total, counted = total + loss.item(), counted + n
        for p in params:
            p.grad /= counted
        torch.nn.utils.clip_grad_norm_(params, case["clip"])
        adam.step()
        schedule.step()
        adam.zero_grad()
        losses.append(total / counted)
        print(len(losses), losses[-1], flush=True)
    return losses


def main(folder):
    folder = pathlib.Path(folder)
    case = json.loads((folder / "case.json").read_text())
    start = load_file(folder / "start.safetensors")
    f, model = hf.load(case["model"], torch.float32)
    pairs = {}
    for i in range(f.layers):
        for slot in hf.MODULES[f.arch]:
            name = f"blk.{i}.{slot}"
            out, inp = f.tensors[name + ".weight"].shape
            pairs[name] = (start[name + ".lora_a"].reshape(-1, inp), start[name + ".lora_b"].reshape(out, -1))
    model = hf.adapt(f, model, case["rank"], case["alpha"], pairs)
    losses = train(model, f, case)
    final = {f"{n}.{h}": hf.to_file(f, n, h, p) for n, h, p in hf.parameters(f, model)}

    golden = {"losses": np.array(losses, dtype=np.float32)}
    for name, x in final.items():
        flat = x.reshape(-1).astype(np.float64)
        golden[name + ".sketch"] = (flat @ signs(len(flat))).astype(np.float32)
        if name.rpartition(".")[0] in IN_FULL:
            golden[name] = x
    sha = hashlib.sha256()
    for name in sorted(start):
        sha.update(start[name].tobytes())
    meta = {"start_sha256": sha.hexdigest(), "steps_sha256": case["steps_sha256"]}
    save_file(golden, here / "peft.safetensors", metadata=meta)
    save_file(final, folder / "peft-final.safetensors")

    ours = folder / "final.safetensors"
    if ours.exists():
        compare(final, load_file(ours), start)


def compare(final, ours, start):
    worst, moved = {}, {}
    for name, x in final.items():
        a, b, s = (y.reshape(-1).astype(np.float64) for y in (x, ours[name], start[name]))
        worst[name] = a @ b / np.sqrt((a @ a) * (b @ b))
        moved[name] = (a - s) @ (b - s) / np.sqrt(((a - s) @ (a - s)) * ((b - s) @ (b - s)))
    for title, table in (("values", worst), ("changes", moved)):
        low = sorted(table, key=table.get)
        print(f"cosine of {title}: least {table[low[0]]:.8f} ({low[0]}), median {np.median(list(table.values())):.8f}")


main(sys.argv[1])
