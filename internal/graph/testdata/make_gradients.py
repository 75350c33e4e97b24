"""Makes <arch>.safetensors: loss and gradients of tiny random models, by
transformers, PEFT and torch's autograd in float64.

    go test ./internal/graph -run TestGoldens -dump /tmp/gradients
    python internal/graph/testdata/make_gradients.py /tmp/gradients

The first command writes the models and cases.json, which says what to compute;
the golden keeps the model's SHA-256, so a test against another model fails.

Made with Python 3.11, torch 2.15.0, transformers 5.23.0, peft 0.21.2, gguf 0.19.0.
"""
import hashlib
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

import hf


def splitmix(seed):
    mask = (1 << 64) - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield z ^ (z >> 31)


def main(folder):
    folder = pathlib.Path(folder)
    for case in json.loads((folder / "cases.json").read_text()):
        path = folder / case["model"]
        f, model = hf.load(path, torch.float64)
        draw, pairs = splitmix(case["seed"]), {}
        for i in range(f.layers):
            for slot in hf.MODULES[f.arch]:
                name = f"blk.{i}.{slot}"
                out, inp = f.tensors[name + ".weight"].shape
                halves = []
                for shape in ((case["rank"], inp), (out, case["rank"])):
                    u = np.array([next(draw) >> 40 for _ in range(shape[0] * shape[1])], dtype=np.float64)
                    halves.append(((u / (1 << 23) - 1) * case["spread"]).astype(np.float32).reshape(shape))
                pairs[name] = tuple(halves)
        model = hf.adapt(f, model, case["rank"], case["alpha"], pairs)
        model.zero_grad()
        total = 0.0
        for s in case["sequences"]:
            loss, _ = hf.loss_sum(model, s["tokens"], s["learn"])
            loss.backward()
            total += loss.item()
        golden = {f"{n}.{h}": hf.to_file(f, n, h, p.grad) for n, h, p in hf.parameters(f, model)}
        meta = {"loss": repr(total), "model_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        save_file(golden, pathlib.Path(__file__).parent / f"{case['name']}.safetensors", metadata=meta)
        print(case["name"], total)


main(sys.argv[1])
