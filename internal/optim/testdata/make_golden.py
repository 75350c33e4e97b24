"""Writes adamw.json (ten steps of torch.optim.AdamW in float32, with and without
weight decay) and schedules.json (the factors of transformers' schedulers).

Needs torch 2.15.0 and transformers 5.23.0.
"""
import json, pathlib
import torch
from transformers import (get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup,
                          get_linear_schedule_with_warmup)

here = pathlib.Path(__file__).parent
bits = lambda t: t.detach().numpy().astype("<f4").tobytes().hex()

runs = []
for decay in (0.0, 0.1):
    torch.manual_seed(3)
    shapes = [(7,), (3, 5)]
    params = [torch.nn.Parameter(torch.randn(s) * 0.3) for s in shapes]
    opt = torch.optim.AdamW(params, lr=1.0, weight_decay=decay)
    run = {"decay": decay, "start": [bits(p) for p in params], "steps": []}
    for step in range(10):
        lr = 1e-2 * (step + 1) / 10
        opt.param_groups[0]["lr"] = lr
        for p in params:
            p.grad = torch.randn(p.shape) * 10.0 ** (-step)  # down to 1e-9, where eps counts
        opt.step()
        run["steps"].append({
            "lr": lr,
            "norm": float(torch.sqrt(sum((p.grad.double() ** 2).sum() for p in params))),
            "grads": [bits(p.grad) for p in params],
            "values": [bits(p) for p in params],
            "m": [bits(opt.state[p]["exp_avg"]) for p in params],
            "v": [bits(opt.state[p]["exp_avg_sq"]) for p in params],
        })
    runs.append(run)
(here / "adamw.json").write_text(json.dumps(runs, indent=0) + "\n")

cases = []
for warmup, total in ((0, 1), (0, 10), (3, 10), (5, 37), (10, 10), (1, 2)):
    def optimiser():
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    for kind, make in (("linear", get_linear_schedule_with_warmup), ("cosine", get_cosine_schedule_with_warmup),
                       ("constant", lambda o, w, t: get_constant_schedule_with_warmup(o, w))):
        o = optimiser()
        s = make(o, warmup, total)
        factors = []
        for _ in range(total + 1):
            factors.append(s.get_last_lr()[0])
            o.step()
            s.step()
        cases.append({"kind": kind, "warmup": warmup, "total": total, "factors": factors})
(here / "schedules.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
