#!/usr/bin/env python3
"""The PyTorch peer of `make bench`: LoRA training with transformers and PEFT.

Loads the model (its weights dequantised from the GGUF file), makes the adapter,
takes two steps to warm up and says {"ready": …}. Then, for every line it reads,
it takes the optimiser steps of the batches in --batches and answers one line of
JSON: the seconds they took, tokens and conversations in them, the loss and the
peak of resident memory since loading ended. All that it is told comes by flags, so that the line that
started it says all that was measured.

A step is what the Trainer of transformers does: zero_grad, forward, backward,
clip to norm 1, AdamW. Batches are padded on the right to their longest
conversation, with the padding masked; a batch without padding has no mask.
"""
import argparse
import gc
import json
import pathlib
import resource
import sys
import time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--model", help="the GGUF file")
ap.add_argument("--phi2", action="store_true", help="instead of a file: the shape of Phi-2, random weights")
ap.add_argument("--batches", required=True, help="JSON: [[{tokens, learn}, …], …]")
ap.add_argument("--weights", choices=["fp32", "autocast", "bf16"], default="fp32",
                help="autocast: weights fp32, torch.autocast to bfloat16")
ap.add_argument("--adapter", choices=["fp32", "bf16"], default="fp32", help="fp32 is PEFT's default")
ap.add_argument("--dropout", type=float, default=0.05)
ap.add_argument("--fp32-products", choices=["ieee", "bf16"], default="ieee",
                help="bf16: oneDNN may compute fp32 products in bfloat16")
ap.add_argument("--compile", action="store_true", help="torch.compile")
ap.add_argument("--threads", type=int, required=True)
ap.add_argument("--warm", type=int, default=2)
ap.add_argument("--seed", type=int, default=1)
a = ap.parse_args()

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
import peft  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(a.threads)
torch.manual_seed(a.seed)
if a.fp32_products == "bf16":
    torch.set_float32_matmul_precision("medium")
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def phi2(dtype):
    """Phi-2 of 2.7 billion parameters; its matrices repeat a block of random numbers."""
    from transformers import PhiConfig, PhiForCausalLM
    from transformers.initialization import no_init_weights
    torch.set_default_dtype(dtype)
    with no_init_weights():
        m = PhiForCausalLM(PhiConfig(
            vocab_size=51200, hidden_size=2560, intermediate_size=10240, num_hidden_layers=32,
            num_attention_heads=32, max_position_embeddings=2048, partial_rotary_factor=0.4,
            attention_dropout=0.0, resid_pdrop=0.0, embd_pdrop=0.0))
    torch.set_default_dtype(torch.float32)
    block = (torch.randn(1 << 20) * 0.02).to(dtype)
    with torch.no_grad():
        for name, p in m.named_parameters():
            flat = p.view(-1)
            if p.dim() == 1:  # norms and biases
                flat.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
                continue
            for i in range(0, flat.numel(), block.numel()):
                n = min(block.numel(), flat.numel() - i)
                flat[i:i + n] = block[:n]
    return m


def model():
    dtype = torch.bfloat16 if a.weights == "bf16" else torch.float32
    if a.phi2:
        m = phi2(dtype)
        targets = ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]
    else:
        sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "internal" / "graph" / "testdata"))
        import hf
        _, m = hf.load(a.model, dtype)
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    m = get_peft_model(m, LoraConfig(
        r=16, lora_alpha=32, lora_dropout=a.dropout, target_modules=targets, bias="none", task_type="CAUSAL_LM"),
        autocast_adapter_dtype=a.adapter == "fp32")
    m.train()
    return m


def padded(batch):
    """input_ids, labels and, where there is padding, attention_mask."""
    width = max(len(s["tokens"]) for s in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), width), -100, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for i, s in enumerate(batch):
        n = len(s["tokens"])
        t = torch.tensor(s["tokens"])
        ids[i, :n], mask[i, :n] = t, 1
        labels[i, :n] = torch.where(torch.tensor(s["learn"]), t, -100)
    out = {"input_ids": ids, "labels": labels}
    if not bool(mask.all()):
        out["attention_mask"] = mask
    return out


def forget_peak():
    """The peak of memory counts from here: loading is not held against the peer."""
    gc.collect()
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError as e:
        print(f"the peak of memory includes loading: {e}", file=sys.stderr)


def peak_mib():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


m = model()
forget_peak()
params = [p for p in m.parameters() if p.requires_grad]
adam = torch.optim.AdamW(params, lr=1e-6, fused=True)
run = torch.compile(m) if a.compile else m
raw = json.loads(pathlib.Path(a.batches).read_text())
batches = [padded(b) for b in raw]
tokens = sum(len(s["tokens"]) for b in raw for s in b)
conversations = sum(len(b) for b in raw)


def step(batch):
    adam.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.weights == "autocast"):
        loss = run(**batch, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    adam.step()
    return loss.item()


for i in range(a.warm):
    step(batches[i % len(batches)])
print(json.dumps({"ready": f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}",
                  "kernels": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(),
                  "mkldnn_bf16": torch.ops.mkldnn._is_mkldnn_bf16_supported()}), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    losses = [step(b) for b in batches]
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "tokens": tokens, "conversations": conversations,
                      "loss": sum(losses) / len(losses),
                      "rss_mib": peak_mib()}), flush=True)
