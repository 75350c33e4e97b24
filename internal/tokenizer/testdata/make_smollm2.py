"""Writes smollm2.jsonl: the ids that transformers and llama.cpp give for the texts of strings.py.

Packages: gguf 0.19.0, tokenizers 0.23.3, transformers 5.23.0.
The tokenizer of SmolLM2 is rebuilt from the vocabulary and merges in the GGUF file,
with the pre-tokeniser and decoder of its tokenizer.json.

    python make_smollm2.py smollm2-135m-instruct.gguf > smollm2.jsonl
"""
import json
import sys

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from strings import ALL


def load(path):
    fields = GGUFReader(path).fields
    get = lambda k: fields["tokenizer.ggml." + k].contents()
    tokens, merges, types = get("tokens"), get("merges"), get("token_type")
    t = Tokenizer(models.BPE({x: i for i, x in enumerate(tokens)}, [tuple(m.split(" ", 1)) for m in merges]))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x, k in zip(tokens, types) if k == 3])
    return PreTrainedTokenizerFast(tokenizer_object=t, clean_up_tokenization_spaces=False)


if __name__ == "__main__":
    tok = load(sys.argv[1])
    for text in ALL:
        plain = tok(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        special = tok(text, add_special_tokens=False)["input_ids"]
        row = {"text": text, "ids": plain}
        if special != plain:
            row["special"] = special
        print(json.dumps(row, ensure_ascii=False))
