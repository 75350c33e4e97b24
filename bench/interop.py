#!/usr/bin/env python3
"""Does a saved adapter answer elsewhere as it does here?

Asks a running Afina 20 questions, greedily, and lets PEFT (on the dequantised
base) and, when its library is at hand, llama.cpp (on the GGUF itself) continue
the very same prompt tokens with the adapter that Afina saved. Prints the share
of equal tokens, compared position by position up to the first difference and
over all.

Needs torch, transformers, peft, gguf, numpy (tried with 2.15, 5.23, 0.21, 0.19, 2.4)
and, for llama.cpp, the folder of its shared objects in LLAMA_BINS (release v0.5.0).

    afina serve --listen 127.0.0.1:8099 …        # with AFINA_SERVE__PRECISION=exact
    python bench/interop.py --url http://127.0.0.1:8099 --base models/smollm2-135m-instruct.gguf \
        --adapter checkpoints/adapters/mates
"""
import argparse, ctypes as C, json, os, urllib.request

QUESTIONS = [
    "¿Qué es un número par?", "Resuelve x + 5 = 12.", "¿Qué es un polígono?", "Calcula 2/5 + 1/5.",
    "¿Cuánto es el 10 % de 90?", "¿Qué es una potencia?", "Resuelve x² − 7x + 10 = 0.", "¿Qué es un ángulo recto?",
    "Deriva f(x) = 5x².", "¿Cuál es el área de un cuadrado de lado 6 cm?", "¿Qué es una variable?",
    "Factoriza x² − 25.", "¿Cuál es la probabilidad de sacar cara con una moneda?", "Calcula la media de 3, 5 y 10.",
    "¿Qué es una recta?", "Simplifica 10/15.", "¿Qué es una sucesión?", "¿Cuánto es 3³?",
    "¿Qué es el perímetro de una figura?", "Resuelve 2x < 8.",
]


def call(url, body=None, kind="application/json"):
    data = None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
    r = urllib.request.Request(url, data, {"Content-Type": kind})
    return json.load(urllib.request.urlopen(r, timeout=600))


def afina(url, model, tokens):
    """Returns (prompt ids, answer ids) per question; ids come from the preview, which lays out as training does."""
    answers = []
    for q in QUESTIONS:
        a = call(url + "/v1/chat/completions", {"model": model, "temperature": 0, "max_tokens": tokens,
                                                "messages": [{"role": "user", "content": q}]})
        answers.append((a["choices"][0]["message"]["content"], a["choices"][0]["finish_reason"]))
    lines = "".join(json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": t or "."}]}) + "\n"
                    for q, (t, _) in zip(QUESTIONS, answers))
    ds = call(url + "/datasets?name=interop", lines.encode())["id"]
    out = []
    for i, (text, finish) in enumerate(answers):
        p = call(f"{url}/datasets/{ds}/preview?model={model}&conversation={i}")["tokens"]
        first = next(n for n, t in enumerate(p) if t["learned"])
        last = max(n for n, t in enumerate(p) if t["learned"])
        ids = [t["id"] for t in p]
        out.append((ids[:first], ids[first:last + 1] if finish == "stop" else ids[first:last]))  # without the end token when cut
    return out


def peft(base, adapter, prompts, tokens):
    import gguf, numpy as np, torch
    from peft import PeftModel
    from transformers import LlamaConfig, LlamaForCausalLM
    r = gguf.GGUFReader(base)
    field = lambda k: r.fields["llama." + k].contents()
    heads, kv = field("attention.head_count"), field("attention.head_count_kv")
    t = {x.name: torch.from_numpy(np.ascontiguousarray(gguf.dequantize(x.data, x.tensor_type))) for x in r.tensors}
    cfg = LlamaConfig(hidden_size=field("embedding_length"), num_hidden_layers=field("block_count"),
                      num_attention_heads=heads, num_key_value_heads=kv, intermediate_size=field("feed_forward_length"),
                      vocab_size=t["token_embd.weight"].shape[0], rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
                      rope_theta=field("rope.freq_base"), max_position_embeddings=field("context_length"),
                      tie_word_embeddings="output.weight" not in t)
    cfg.rope_parameters = {"rope_type": "default", "rope_theta": field("rope.freq_base")}

    def halves(w, n):  # GGUF keeps rotary pairs adjacent, transformers keeps them as halves
        return w.reshape(n, w.shape[0] // n // 2, 2, -1).transpose(1, 2).reshape(w.shape)

    sd = {"model.embed_tokens.weight": t["token_embd.weight"], "model.norm.weight": t["output_norm.weight"],
          "lm_head.weight": t.get("output.weight", t["token_embd.weight"])}
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    for l in range(cfg.num_hidden_layers):
        for ours, theirs in names.items():
            w = t[f"blk.{l}.{ours}.weight"]
            w = halves(w, heads) if ours == "attn_q" else halves(w, kv) if ours == "attn_k" else w
            sd[f"model.layers.{l}.{theirs}.weight"] = w
    m = LlamaForCausalLM(cfg).to(torch.float32).eval()
    m.load_state_dict(sd)
    m = PeftModel.from_pretrained(m, adapter).eval()
    ends, out = {2, 0}, []
    with torch.no_grad():
        for ids in prompts:
            answer, cache, cur = [], None, torch.tensor([ids])
            for _ in range(tokens):
                o = m(input_ids=cur, past_key_values=cache, use_cache=True)
                cache, nxt = o.past_key_values, int(o.logits[0, -1].argmax())
                answer.append(nxt)
                if nxt in ends:
                    break
                cur = torch.tensor([[nxt]])
            out.append(answer)
    return out


def llama(bins, base, lora, prompts, tokens):
    """llama.cpp through its C API; by-value structs are passed as 1 KiB blocks (System V ABI)."""
    import numpy as np
    class Big(C.Structure):
        _fields_ = [("b", C.c_ubyte * 1024)]

    class Batch(C.Structure):
        _fields_ = [("n", C.c_int32)] + [(k, C.c_void_p) for k in ("token", "embd", "pos", "nseq", "seq", "logits")]
    lib = lambda n: C.CDLL(os.path.join(bins, n), mode=C.RTLD_GLOBAL)
    lib("libggml-base.so")
    g, L = lib("libggml.v0.5.0.so"), lib("libllama.v0.5.0.so")
    g.ggml_backend_load.restype, g.ggml_backend_load.argtypes = C.c_void_p, [C.c_char_p]
    assert g.ggml_backend_load(os.path.join(bins, "libggml-cpu-zen4.so").encode())
    sig = {"llama_model_default_params": (Big, []), "llama_context_default_params": (Big, []),
           "llama_model_load_from_file": (C.c_void_p, [C.c_char_p, Big]), "llama_init_from_model": (C.c_void_p, [C.c_void_p, Big]),
           "llama_batch_get_one": (Batch, [C.c_void_p, C.c_int32]), "llama_decode": (C.c_int32, [C.c_void_p, Batch]),
           "llama_get_logits_ith": (C.POINTER(C.c_float), [C.c_void_p, C.c_int32]),
           "llama_model_get_vocab": (C.c_void_p, [C.c_void_p]), "llama_vocab_n_tokens": (C.c_int32, [C.c_void_p]),
           "llama_adapter_lora_init": (C.c_void_p, [C.c_void_p, C.c_char_p]),
           "llama_set_adapters_lora": (C.c_int32, [C.c_void_p, C.c_void_p, C.c_size_t, C.c_void_p]),
           "llama_set_n_threads": (None, [C.c_void_p, C.c_int32, C.c_int32]), "llama_free": (None, [C.c_void_p])}
    for k, (res, args) in sig.items():
        getattr(L, k).restype, getattr(L, k).argtypes = res, args
    m = L.llama_model_load_from_file(base.encode(), L.llama_model_default_params())
    ad = L.llama_adapter_lora_init(m, lora.encode())
    assert m and ad, "llama.cpp refuses the model or the adapter"
    vocab, out = L.llama_vocab_n_tokens(L.llama_model_get_vocab(m)), []
    for ids in prompts:
        cp = L.llama_context_default_params()
        C.memmove(C.addressof(cp), (1024).to_bytes(4, "little"), 4)  # n_ctx
        x = L.llama_init_from_model(m, cp)
        L.llama_set_n_threads(x, os.cpu_count(), os.cpu_count())
        a, s = (C.c_void_p * 1)(ad), (C.c_float * 1)(1.0)
        assert L.llama_set_adapters_lora(x, a, 1, s) == 0
        cur, answer = list(ids), []
        for _ in range(tokens):
            buf = (C.c_int32 * len(cur))(*cur)
            assert L.llama_decode(x, L.llama_batch_get_one(C.cast(buf, C.c_void_p), len(cur))) == 0
            p = L.llama_get_logits_ith(x, -1)
            nxt = int(np.ctypeslib.as_array(p, (vocab,)).argmax())
            answer.append(nxt)
            if nxt in (2, 0):
                break
            cur = [nxt]
        out.append(answer)
        L.llama_free(x)
    return out


def compare(name, ours, theirs):
    total = equal = prefix = whole = 0
    for a, b in zip(ours, theirs):
        n = min(len(a), len(b))
        same = [x == y for x, y in zip(a[:n], b[:n])]
        total += max(len(a), len(b)); equal += sum(same)
        prefix += next((i for i, s in enumerate(same) if not s), n)
        whole += a == b
    print(f"{name}: {equal}/{total} tokens equal ({100 * equal / total:.2f} %), {prefix} before the first difference, {whole}/{len(ours)} answers whole", flush=True)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--url", required=True)
    ap.add_argument("--base", required=True)
    ap.add_argument("--adapter", required=True, help="folder of the published adapter")
    ap.add_argument("--tokens", type=int, default=64)
    ap.add_argument("--peers", default="peft,llama.cpp")
    a = ap.parse_args()
    laid = afina(a.url, os.path.basename(a.adapter.rstrip("/")), a.tokens)
    prompts, ours = [p for p, _ in laid], [x for _, x in laid]
    if "peft" in a.peers:
        compare("PEFT", ours, peft(a.base, a.adapter, prompts, a.tokens))
    if "llama.cpp" in a.peers and os.environ.get("LLAMA_BINS"):
        compare("llama.cpp", ours, llama(os.environ["LLAMA_BINS"], a.base, os.path.join(a.adapter, "adapter.gguf"), prompts, a.tokens))
        os._exit(0)  # its destructors run in no good order
