"""llama.cpp's tokenizer on a made vocabulary, through ctypes.

Packages: gguf 0.19.0, and the shared objects of npm's @node-llama-cpp/linux-x64@3.22.1 (llama.cpp v0.5.0),
whose folder is named by the environment variable LLAMA_BINS.
"""
import ctypes as C
import os
import tempfile

import numpy as np
from gguf import GGUFWriter

bins = os.environ["LLAMA_BINS"] + "/"
C.CDLL(bins + "libggml-base.so", mode=C.RTLD_GLOBAL)
ggml = C.CDLL(bins + "libggml.v0.5.0.so", mode=C.RTLD_GLOBAL)
llama = C.CDLL(bins + "libllama.v0.5.0.so", mode=C.RTLD_GLOBAL)


class Params(C.Structure):  # larger than any by-value struct of the interface
    _fields_ = [("bytes", C.c_ubyte * 1024)]


ggml.ggml_backend_load.restype = C.c_void_p
ggml.ggml_backend_load.argtypes = [C.c_char_p]
assert ggml.ggml_backend_load((bins + "libggml-cpu-x64.so").encode())
llama.llama_model_default_params.restype = Params
llama.llama_model_load_from_file.restype = C.c_void_p
llama.llama_model_load_from_file.argtypes = [C.c_char_p, Params]
llama.llama_model_get_vocab.restype = C.c_void_p
llama.llama_model_get_vocab.argtypes = [C.c_void_p]
llama.llama_tokenize.argtypes = [C.c_void_p, C.c_char_p, C.c_int32, C.c_void_p, C.c_int32, C.c_bool, C.c_bool]


def load(keys):
    """keys: the tokenizer keys without their prefix. Returns tokenize(text, special) → ids."""
    path = tempfile.mktemp(".gguf")
    w = GGUFWriter(path, "llama")
    d, n = 32, len(keys["tokens"])
    w.add_context_length(64), w.add_embedding_length(d), w.add_block_count(1), w.add_feed_forward_length(32)
    w.add_head_count(2), w.add_head_count_kv(2), w.add_layer_norm_rms_eps(1e-5), w.add_rope_dimension_count(16)
    for key, v in keys.items():
        key = "tokenizer.ggml." + key
        if isinstance(v, bool):
            w.add_bool(key, v)
        elif isinstance(v, str):
            w.add_string(key, v)
        elif isinstance(v, int):
            w.add_uint32(key, v)
        else:
            w.add_array(key, v)
    z = lambda *shape: np.zeros(shape, np.float32)
    w.add_tensor("token_embd.weight", z(n, d)), w.add_tensor("output_norm.weight", z(d))
    for name, shape in {"attn_norm": (d,), "ffn_norm": (d,), "attn_q": (d, d), "attn_k": (d, d), "attn_v": (d, d), "attn_output": (d, d),
                        "ffn_gate": (32, d), "ffn_up": (32, d), "ffn_down": (d, 32)}.items():
        w.add_tensor(f"blk.0.{name}.weight", z(*shape))
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    os.remove(path)
    vocab = llama.llama_model_get_vocab(model)

    def tokenize(text, special):
        raw = text.encode()
        out = (C.c_int32 * (4 * len(raw) + 8))()
        n = llama.llama_tokenize(vocab, raw, len(raw), C.cast(out, C.c_void_p), len(out), False, special)
        assert n >= 0
        return list(out[:n])

    return tokenize
