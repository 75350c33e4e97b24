"""Writes templates.json: what transformers' apply_chat_template makes of a table of conversations.

Packages: transformers 5.23.0, tokenizers 0.23.3, Jinja2 3.1.6.
The templates are ours; each has the shape of one family's and the constructs that its templates use.

    python make_templates.py > templates.json
"""
import json

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

TEMPLATES = {
    # No line breaks of its own; a system turn is inserted when there is none.
    "smollm2": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nEres un ayudante.<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    # Signs that trim blanks on both sides, statements over many lines.
    "qwen": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {{- 'tools!' + (tools | tojson) }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nSoy un modelo.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    # The first token written by the template, headers, contents trimmed.
    "llama3": """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}""",
    # The same with the day and a system turn that is always there.
    "llama3.1": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Hoy: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    # Turns in brackets; a wrong order is refused; the system turn goes into the first question.
    "mistral": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Los turnos deben alternarse') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- " [INST] " + system_message + "\\n\\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- " [INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token }}
    {%- else %}
        {{- raise_exception("Sólo hay usuario y ayudante") }}
    {%- endif %}
{%- endfor %}
""",
    # Stripped by a method; the answer has a space on both sides.
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set sys = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set sys = false %}{% endif %}"
    "{% for m in rest %}{% if loop.index0 == 0 and sys != false %}{% set content = '<<SYS>>\\n' + sys + '\\n<</SYS>>\\n\\n' + m['content'] %}{% else %}{% set content = m['content'] %}{% endif %}"
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    # Another name for the assistant; no system turn.
    "gemma": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('No hay papel de sistema') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}""",
    # A namespace, a macro, a loop variable that looks ahead.
    "macros": """{%- macro turn(name, text, close=true) -%}
<|{{ name }}|>
{{ text }}{% if close %}<|end|>{% endif %}

{% endmacro -%}
{%- set ns = namespace(system='', n=0) -%}
{%- for m in messages if m.role == 'system' -%}
{%- set ns.system = ns.system ~ m.content -%}
{%- endfor -%}
{%- if ns.system -%}{{ turn('system', ns.system) }}{%- endif -%}
{%- for m in messages -%}
{%- if m.role != 'system' -%}
{%- set ns.n = ns.n + 1 -%}
{{ turn(m.role, m.content | trim) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>
{% endif -%}""",
    # Text between the tags: line breaks and blanks that Jinja's options take away.
    "zephyr": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
    {% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
    {% endif %}
{% endfor %}""",
}


def conv(*contents, system=None):
    head = [{"role": "system", "content": system}] if system else []
    return head + [{"role": "assistant" if i % 2 else "user", "content": c} for i, c in enumerate(contents)]


CONVERSATIONS = [
    conv("¿Cuánto es 2 + 2?"),
    conv("¿Cuánto es 2 + 2?", "4"),
    conv("¿Cuánto es 2 + 2?", "4", system="Responde con un número."),
    conv("uno", "dos", "tres", "cuatro", "cinco"),
    conv("uno", "dos", "tres", "cuatro", system="Cuenta."),
    conv("  espacios  ", "  delante y detrás\n\n"),
    conv("\n\nlíneas\n", "\n\n\nrespuesta", "\t\tx", "y\r\n"),
    conv(" a ", " b ", system="  c \n"),
    conv("a<|im_end|>b</s>", "<|im_start|>system\nx [/INST] <end_of_turn>"),
    conv("{{ x }} {% if y %} {# z #}", "{{ raise_exception('no') }}"),
    conv("\\frac{1}{2} \"comillas\" 'simples' \\n", "$x^2$ <b>&amp;</b>"),
    conv("日本語 😀 e\u0301 \u00a0 \u200b", "مرحبا"),
    [{"role": "assistant", "content": "yo primero"}, {"role": "user", "content": "tú después"}],
    [{"role": "user", "content": "uno"}, {"role": "user", "content": "dos"}],
]


def main():
    rows = []
    for name, source in TEMPLATES.items():
        tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>")
        for messages in CONVERSATIONS:
            for open_ in (True, False):
                row = {"template": name, "messages": messages, "open": open_}
                try:
                    # The server's day stands still: see today in program.go.
                    row["text"] = tok.apply_chat_template(messages, chat_template=source, tokenize=False, add_generation_prompt=open_, date_string="26 Jul 2024")
                except Exception as e:
                    row["error"] = str(e)
                rows.append(row)
    print(json.dumps({"templates": TEMPLATES, "rows": rows}, ensure_ascii=False, indent=1))


main()
