"""Writes blanks.json: what Jinja2, set up as transformers does, makes of blanks around tags, of quotes and of expressions.

Package: Jinja2 3.1.6.

    python make_blanks.py > blanks.json
"""
import json
import random

from jinja2 import Environment

env = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
rnd = random.Random(7)

TEXT = ["a", " ", "  ", "\n", "\n\n", "\t", "\n  ", " \n", "b c", "\r\n", "x\n", "{", "}", "%}", "'", "\\", "\"", "ñ", "# }"]


def tag(kind, body):
    opener, closer = {"{": ("{{", "}}"), "%": ("{%", "%}"), "#": ("{#", "#}")}[kind]
    left = rnd.choice(["", "", "-", "+" if kind != "{" else ""])
    right = rnd.choice(["", "", "-", "+" if kind != "{" else ""])
    return opener + left + rnd.choice([" ", "", "\n"]) + body + rnd.choice([" ", "\n "]) + right + closer


def text():
    return "".join(rnd.choice(TEXT) for _ in range(rnd.randrange(3)))


def block(depth):
    out = text()
    for _ in range(rnd.randrange(1, 4)):
        n = rnd.randrange(9 if depth < 3 else 4)
        if n == 0:
            out += tag("{", rnd.choice(["'v'", "1 + 2", "' s '", "'}}'", "{'a': {'b': 'c'}}['a']['b']", "'\\'\\\\ \\n'", "\"it's\"", "'\\u00f1\\x41'", "[1, 2][0]", "c"]))
        elif n == 1:
            out += tag("#", rnd.choice(["note", "'", "{{ x }}", "{% if %}"]))
        elif n == 2:
            out += tag("%", rnd.choice(["set s = 'q'", "set s = \"%}\""])) + tag("{", "s")
        elif n == 3:
            out += text()
        elif n == 4:
            out += tag("%", "if true") + block(depth + 1) + tag("%", "else") + text() + tag("%", "endif")
        elif n == 5:
            out += tag("%", "for i in [1, 2]") + block(depth + 1) + tag("{", "i") + block(depth + 1) + tag("%", "endfor")
        elif n == 6:
            out += tag("%", "macro f(x, y='d')") + text() + tag("{", "x") + text() + tag("{", "y") + tag("%", "endmacro") + tag("{", "f('z')")
        elif n == 7:
            out += tag("%", "set t") + block(depth + 1) + tag("%", "endset") + tag("{", "t")
        else:
            out += tag("%", "raw").replace("+", "") + text() + "{{ raw }}" + tag("%", "endraw")
        out += text()
    return out


rows = []
while len(rows) < 500:
    source = block(0)
    try:
        rows.append({"source": source, "text": env.from_string(source).render(c="value")})
    except Exception:
        continue
print(json.dumps(rows, ensure_ascii=False, indent=0))
