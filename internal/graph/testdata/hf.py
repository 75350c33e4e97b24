"""A GGUF file as a transformers model with a PEFT adapter, for the oracles of
training: make_gradients.py here and internal/train/testdata/make_peft.py.

The weights are dequantised by the gguf package. llama files hold the rows of q
and k in another order than transformers (pairs side by side instead of halves);
rows() gives the index map, which holds for B of an adapter as well.
"""
import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PhiConfig, PhiForCausalLM

MODULES = {
    "llama": {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    },
    "phi2": {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.dense", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2",
    },
}
NORMS = {
    "llama": {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"},
    "phi2": {"attn_norm": "input_layernorm"},
}


class File:
    """A GGUF file: keys, and tensors in the shapes of torch."""

    def __init__(self, path):
        reader = GGUFReader(path)
        self.keys = {k: f.contents() for k, f in reader.fields.items()}
        self.arch = self.keys["general.architecture"]
        self.tensors = {
            t.name: dequantize(t.data, t.tensor_type).reshape(t.shape[::-1]) for t in reader.tensors
        }

    def key(self, name, default=None):
        return self.keys.get(f"{self.arch}.{name}", default)

    @property
    def layers(self):
        return self.key("block_count")

    def rows(self, slot, n):
        """rows()[i] is the row of the file that is row i of transformers."""
        if self.arch != "llama" or slot not in ("attn_q", "attn_k"):
            return np.arange(n)
        heads = self.key("attention.head_count_kv" if slot == "attn_k" else "attention.head_count")
        return np.arange(n).reshape(heads, n // heads // 2, 2).swapaxes(1, 2).reshape(n)


def config(f):
    hidden, heads = f.key("embedding_length"), f.key("attention.head_count")
    common = dict(
        vocab_size=len(f.tensors["token_embd.weight"]), hidden_size=hidden,
        intermediate_size=f.key("feed_forward_length"), num_hidden_layers=f.layers,
        num_attention_heads=heads, num_key_value_heads=f.key("attention.head_count_kv", heads),
        max_position_embeddings=f.key("context_length"), attention_dropout=0.0,
        bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )
    rope = {"rope_type": "default", "rope_theta": float(f.key("rope.freq_base", 10000.0))}
    if f.arch == "llama":
        return LlamaConfig(
            **common, rms_norm_eps=f.key("attention.layer_norm_rms_epsilon"), rope_parameters=rope,
            tie_word_embeddings="output.weight" not in f.tensors,
        )
    rope["partial_rotary_factor"] = f.key("rope.dimension_count") / (hidden // heads)
    return PhiConfig(
        **common, layer_norm_eps=f.key("attention.layer_norm_epsilon"), rope_parameters=rope,
        partial_rotary_factor=rope["partial_rotary_factor"], tie_word_embeddings=False,
    )


def load(path, dtype):
    """The base as a transformers model in eval mode."""
    f = File(path)
    model = (LlamaForCausalLM if f.arch == "llama" else PhiForCausalLM)(config(f)).to(dtype)
    final = "norm" if f.arch == "llama" else "final_layernorm"
    state = {}

    def put(name, source, index=None):
        for kind in ("weight", "bias"):
            if f"{source}.{kind}" in f.tensors:
                x = f.tensors[f"{source}.{kind}"]
                state[f"{name}.{kind}"] = torch.tensor(x if index is None else x[index]).to(dtype)

    put("model.embed_tokens", "token_embd")
    put(f"model.{final}", "output_norm")
    put("lm_head", "output" if "output.weight" in f.tensors else "token_embd")
    for i in range(f.layers):
        for slot, module in NORMS[f.arch].items():
            put(f"model.layers.{i}.{module}", f"blk.{i}.{slot}")
        for slot, module in MODULES[f.arch].items():
            source = f"blk.{i}.{slot}"
            put(f"model.layers.{i}.{module}", source, f.rows(slot, len(f.tensors[source + ".weight"])))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("rotary" in m for m in missing), (missing, unexpected)
    return f, model.eval()


def adapt(f, model, rank, alpha, pairs):
    """model with a PEFT adapter that holds pairs: {"blk.0.attn_q": (A, B)}, B in the rows of the file."""
    names = sorted({m.rpartition(".")[2] for m in MODULES[f.arch].values()})
    model = get_peft_model(model, LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=names, bias="none", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, half, p in parameters(f, model):
            x = pairs[name][half == "lora_b"]
            if half == "lora_b":
                x = x[f.rows(name.rpartition(".")[2], len(x))]
            p.copy_(torch.tensor(np.ascontiguousarray(x)).to(p.dtype))
    return model


def parameters(f, model):
    """(slot's name, half, parameter) of every low-rank matrix."""
    for i in range(f.layers):
        for slot, module in MODULES[f.arch].items():
            m = model.base_model.model.model.layers[i].get_submodule(module)
            yield f"blk.{i}.{slot}", "lora_a", m.lora_A["default"].weight
            yield f"blk.{i}.{slot}", "lora_b", m.lora_B["default"].weight


def to_file(f, name, half, x):
    """x of a low-rank matrix, or its gradient, in the rows of the file."""
    x = x.detach().to(torch.float32).numpy()
    if half == "lora_b":
        out = np.empty_like(x)
        out[f.rows(name.rpartition(".")[2], len(x))] = x
        return out
    return np.ascontiguousarray(x)


def loss_sum(model, tokens, learn):
    """Sum of -log p over the learned tokens of one sequence, and their number."""
    ids = torch.tensor([tokens])
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
    target = torch.tensor([t if l else -100 for t, l in zip(tokens[1:], learn[1:])])
    loss = torch.nn.functional.cross_entropy(logits, target, ignore_index=-100, reduction="sum")
    return loss, int((target >= 0).sum())
