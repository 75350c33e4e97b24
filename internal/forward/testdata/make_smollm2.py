"""Makes smollm2.safetensors: logits of SmolLM2-135M-Instruct Q4_1 over Spanish text.

    python internal/forward/testdata/make_smollm2.py models/smollm2-135m-instruct.gguf

The weights are dequantised and loaded into transformers' LlamaForCausalLM in
float64, with the rows of q and k put back into the order of Hugging Face (halves
where GGUF interleaves). transformers computes rotary angles in float32 whatever
the model's type, so its rotary module is replaced by one in float64; its norms
and softmax stay in float32. The result is checked against the numpy forward of
make_logits.py, float64 throughout, before it is written: 2e-5 apart at most.

Of n positions the file keeps: ids (n); lse (n), the log-sum-exp of all logits;
top_ids and top (n, 64), the largest logits; picked (n, 64), the logits of ids
that SplitMix64 seeded with the position draws; full (k, vocab), every logit of
the positions full_at.

Made with Python 3.12, numpy 2.4.6, gguf 0.19.0, torch 2.15.0, transformers
5.23.0, tokenizers 0.23.3, safetensors 0.8.0.
"""
import hashlib
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

import make_logits

HERE = pathlib.Path(__file__).parent
TOP = 64


def tokenize(model, text):
    tokens = model.keys["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ", 1)) for m in model.keys["tokenizer.ggml.merges"]]
    t = Tokenizer(models.BPE({s: i for i, s in enumerate(tokens)}, merges))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return t.encode(text).ids


def halves(w, heads):
    """Undoes the row order of GGUF: row 2i+t of a head becomes t*dim/2+i."""
    return w.reshape(heads, -1, 2, w.shape[-1]).swapaxes(1, 2).reshape(w.shape)


class Rotary(torch.nn.Module):
    def __init__(self, dim, base):
        super().__init__()
        self.inverse = base ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)

    def forward(self, x, position_ids):
        angle = position_ids[..., None].double() * self.inverse
        angle = torch.cat([angle, angle], -1)
        return angle.cos(), angle.sin()


def hugging_face(model):
    key = model.key
    heads, kv_heads = key("attention.head_count"), key("attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=len(model.tensors["token_embd.weight"]),
        hidden_size=key("embedding_length"),
        intermediate_size=key("feed_forward_length"),
        num_hidden_layers=key("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        rms_norm_eps=key("attention.layer_norm_rms_epsilon"),
        rope_theta=key("rope.freq_base"),
        max_position_embeddings=key("context_length"),
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    names = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }
    state = {}
    for name, w in model.tensors.items():
        if name == "token_embd.weight":
            state["model.embed_tokens.weight"] = state["lm_head.weight"] = w
        elif name == "output_norm.weight":
            state["model.norm.weight"] = w
        else:
            _, layer, slot, _ = name.split(".")
            if slot in ("attn_q", "attn_k"):
                w = halves(w, heads if slot == "attn_q" else kv_heads)
            state[f"model.layers.{layer}.{names[slot]}.weight"] = w
    net = LlamaForCausalLM(config).double()
    net.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(w)) for k, w in state.items()})
    net.model.rotary_emb = Rotary(key("embedding_length") // heads, key("rope.freq_base"))
    return net.eval()


def main():
    path = pathlib.Path(sys.argv[1])
    model = make_logits.Model(path)
    text = (HERE / "smollm2.txt").read_text()
    ids = tokenize(model, text)
    with torch.no_grad():
        logits = hugging_face(model)(torch.tensor([ids])).logits[0].numpy()
    assert logits.dtype == np.float64
    difference = np.abs(make_logits.forward(model, ids) - logits).max()
    print(f"{len(ids)} tokens; transformers and numpy differ by at most {difference:.1e}")
    assert difference < 1e-4

    peak = logits.max(-1, keepdims=True)
    lse = (peak + np.log(np.exp(logits - peak).sum(-1, keepdims=True)))[:, 0]
    top_ids = np.argsort(-logits, -1)[:, :TOP]
    draws = [make_logits.splitmix(p) for p in range(len(ids))]
    picked = [[logits[p, next(d) % logits.shape[1]] for _ in range(TOP)] for p, d in enumerate(draws)]
    full_at = np.array([len(ids) - 1])
    save_file(
        {
            "ids": np.array(ids, dtype=np.int32),
            "lse": lse.astype(np.float32),
            "top_ids": top_ids.astype(np.int32),
            "top": np.take_along_axis(logits, top_ids, -1).astype(np.float32),
            "picked": np.array(picked, dtype=np.float32),
            "full_at": full_at.astype(np.int32),
            "full": logits[full_at].astype(np.float32),
        },
        HERE / "smollm2.safetensors",
        metadata={
            "oracle": "transformers 5.23.0, float64",
            "model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
    )


if __name__ == "__main__":
    main()
