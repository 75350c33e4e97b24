"""Writes families.json: a small byte-level vocabulary and the ids of the texts of strings.py by every family of pre-tokenisers.

Packages: tokenizers 0.23.3 (gpt-2, smollm, qwen2, llama-bpe), llama.cpp v0.5.0 (default, and a check of the others).

    LLAMA_BINS=… python make_families.py > families.json
"""
import json
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

import llama_cpp
from strings import ALL, LATEX, SPANISH

# The expressions that the families publish.
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
by = lambda regex: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), plain])
FAMILIES = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "qwen2": by(QWEN2),
    "llama-bpe": by(LLAMA),
}

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def main():
    # Trained on runs of three digits and on blanks, so that every family's borders matter.
    trainer = trainers.BpeTrainer(vocab_size=1200, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = by(r"\p{N}{1,3}|[ ]?\p{L}+|\s+|[^\s\p{L}\p{N}]+|.")
    t.train_from_iterator((SPANISH + LATEX) * 3 + ["  ", "\n\n", "    x", ".\n\n", "?\n", "\u00a0x", "123 12 1", "x's 's", " $", "'S"] * 20, trainer)
    state = json.loads(t.to_str())["model"]
    tokens = sorted(state["vocab"], key=state["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in state["merges"]]
    # A few whole words without merges: only a family that looks words up finds them.
    tokens += ["Ġteorema", "ĠperiÃ³dica", "equation"]
    tokens = list(dict.fromkeys(tokens)) + SPECIAL
    vocab = {x: i for i, x in enumerate(tokens)}
    keys = {"model": "gpt2", "tokens": tokens, "merges": merges, "token_type": [3 if x in SPECIAL else 1 for x in tokens],
            "eos_token_id": vocab["<|im_end|>"], "bos_token_id": vocab["<|endoftext|>"]}

    ids = {}
    for name in [*FAMILIES, "default"]:
        cpp = llama_cpp.load({**keys, "pre": name})
        theirs = [cpp(text, False) for text in ALL]
        if name in FAMILIES:
            hf = Tokenizer(models.BPE(vocab, [tuple(m.split(" ", 1)) for m in merges], ignore_merges=name == "llama-bpe"))
            hf.pre_tokenizer = FAMILIES[name]
            ids[name] = [hf.encode(text, add_special_tokens=False).ids for text in ALL]
            for text, a, b in zip(ALL, ids[name], theirs):
                if a != b:
                    print("differ", name, repr(text), [tokens[i] for i in a], [tokens[i] for i in b], file=sys.stderr)
        else:
            ids[name] = theirs
    del keys["model"], keys["token_type"]
    print(json.dumps({"keys": keys, "special": SPECIAL, "texts": ALL, "ids": ids}, ensure_ascii=False, separators=(",", ":")))


main()
