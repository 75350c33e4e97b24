"""Writes spm.json: a small SentencePiece vocabulary and the ids of the texts of strings.py.

Packages: sentencepiece 0.2.3 (ids), llama.cpp v0.5.0 (special: ids with control tokens; and a check of the others).
Where a vocabulary has the pieces of a control token, llama.cpp makes the token of plain text; we never do. This one has not.

    LLAMA_BINS=… python make_spm.py > spm.json
"""
import io
import json
import sys

import sentencepiece

import llama_cpp
from strings import ALL, LATEX, SPANISH


def main():
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((SPANISH + LATEX) * 3), model_writer=out, model_type="bpe", vocab_size=900, byte_fallback=True,
        character_coverage=1.0, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    n = sp.vocab_size()
    tokens = [sp.id_to_piece(i) for i in range(n)]
    kind = lambda i: 2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 5 if sp.is_unused(i) else 1
    keys = {"tokens": tokens, "scores": [sp.get_score(i) for i in range(n)], "token_type": [kind(i) for i in range(n)],
            "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    cpp = llama_cpp.load({**keys, "model": "llama", "add_space_prefix": True})
    ids, special = [], []
    for text in ALL:
        ids.append(sp.encode(text))
        special.append(cpp(text, True))
        if (theirs := cpp(text, False)) != ids[-1]:
            print("differ", repr(text), [tokens[i] for i in ids[-1]], [tokens[i] for i in theirs], file=sys.stderr)
    print(json.dumps({"keys": keys, "texts": ALL, "ids": ids, "special": special}, ensure_ascii=False, separators=(",", ":")))


main()
