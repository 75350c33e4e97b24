"""Writes three adapters with PEFT, each beside the change of weights that PEFT
computes from it:

llama/    LlamaForCausalLM, all seven layers of a block, rank 4, alpha 8
mixed/    the same with rslora and ranks and alphas by pattern, bfloat16
phi/      PhiForCausalLM, its six layers, rank 3, alpha 6

delta.safetensors holds scale·B·A under GGUF names, llama's q and k in the row
order of GGUF files. The shapes are those of testShape in lora_test.go.

Needs torch 2.15.0, transformers 5.23.0, peft 0.21.2, safetensors 0.8.0.
"""
import pathlib, shutil
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, PhiConfig, PhiForCausalLM

here = pathlib.Path(__file__).parent
common = dict(vocab_size=272, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2)
NAMES = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "dense": "attn_output",
         "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down", "fc1": "ffn_up", "fc2": "ffn_down"}


def gguf_rows(w, heads):
    """Rows of a head from (half, pair) to (pair, half)."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).transpose(1, 2).reshape(w.shape)


def make(folder, model, config, dtype=torch.float32):
    torch.manual_seed(11)
    peft = get_peft_model(model, config)
    delta = {}
    for name, module in peft.named_modules():
        if not hasattr(module, "lora_A") or "default" not in module.lora_A:
            continue
        with torch.no_grad():
            for half in (module.lora_A, module.lora_B):
                w = half["default"].weight
                w.copy_((torch.randn_like(w) * 0.3).to(dtype))
            d = module.get_delta_weight("default").float().clone()
        layer, kind = name.split(".")[4], name.split(".")[-1]
        if isinstance(model, LlamaForCausalLM) and kind in ("q_proj", "k_proj"):
            d = gguf_rows(d, 4 if kind == "q_proj" else 2)
        delta[f"blk.{layer}.{NAMES[kind]}.weight"] = d.contiguous()
    out = here / folder
    shutil.rmtree(out, ignore_errors=True)
    if dtype != torch.float32:
        peft = peft.to(dtype)
    peft.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    save_file(delta, out / "delta.safetensors")
    print(folder, len(delta), "layers")


llama = lambda: LlamaForCausalLM(LlamaConfig(**common))
phi = lambda: PhiForCausalLM(PhiConfig(**common, partial_rotary_factor=0.5))
seven = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
make("llama", llama(), LoraConfig(r=4, lora_alpha=8, lora_dropout=0.05, target_modules=seven, task_type="CAUSAL_LM"))
make("mixed", llama(), LoraConfig(
    r=4, lora_alpha=8, use_rslora=True, target_modules=seven, task_type="CAUSAL_LM",
    rank_pattern={"layers.1.self_attn.q_proj": 2, "q_proj": 6, "mlp.*": 3},
    alpha_pattern={"model.layers.0.mlp.down_proj": 5, "k_proj": 16}, layers_to_transform=None), torch.bfloat16)
make("phi", phi(), LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"],
                              task_type="CAUSAL_LM"))
