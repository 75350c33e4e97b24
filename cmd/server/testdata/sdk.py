"""Walks OpenAI's API with OpenAI's own Python client. Arguments: base URL, training file."""
import json
import sys
import time

import openai

base, training = sys.argv[1:]
c = openai.OpenAI(base_url=base, api_key="0123456789abcdef", max_retries=0)
ask = dict(model="tiny", messages=[{"role": "user", "content": "hola"}], max_tokens=8, seed=1)


def check(ok, what):
    if not ok:
        sys.exit(f"python: {what}")
    print("ok", what)


def fails(kind, status, what, f):
    try:
        f()
    except kind as e:
        check(e.status_code == status and e.body["message"] and e.request_id.startswith("req_"), what)
        return e
    sys.exit(f"python: {what}: no error")


# Models.
check("tiny" in [m.id for m in c.models.list()], "models")
check(c.models.retrieve("tiny").owned_by == "afina", "model")

# Files: upload, pages, content.
names = []
for i in range(3):
    f = c.files.create(file=(f"py{i}.jsonl", open(training, "rb")), purpose="fine-tune",
                       **({"expires_after": {"anchor": "created_at", "seconds": 3600}} if i == 1 else {}))
    names.append(f.id)
    check(f.status == "processed" and f.filename == f"py{i}.jsonl" and (f.expires_at is not None) == (i == 1), "upload")
check(c.files.wait_for_processing(names[0], poll_interval=0.01).id == names[0], "wait for a file")
check(c.files.content(names[0]).read() == open(training, "rb").read(), "content")
pages = list(c.files.list(limit=1, order="asc", purpose="fine-tune"))
check([f.id for f in pages][-3:] == names and len(pages) >= 3, "files over 3 pages")
check([f.id for f in c.files.list(limit=2)][:3] == names[::-1], "files, newest first")
check(c.files.delete(names[2]).deleted, "delete a file")
fails(openai.NotFoundError, 404, "no such file", lambda: c.files.retrieve(names[2]))
e = fails(openai.BadRequestError, 400, "purpose", lambda: c.files.create(file=open(training, "rb"), purpose="vision"))
check(e.param == "purpose", "purpose is named")
fails(openai.BadRequestError, 400, "unknown cursor", lambda: list(c.files.list(after="file-nothing")))

# Jobs.
jobs = c.fine_tuning.jobs
job = jobs.create(model="tiny", training_file=names[0], suffix="mi clase", seed=7, metadata={"clase": "3B"},
                  method={"type": "supervised", "supervised": {"hyperparameters": {
                      "n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": "auto", "rank": 2, "eval_every": 1}}},
                  extra_body={"x_unknown": 1})
check(job.status in ("queued", "running", "validating_files") and job.id.startswith("ftjob-"), "create")
check(job.hyperparameters.n_epochs == 3 and job.method.type == "supervised" and job.fine_tuned_model is None and job.seed == 7, "settings")
while jobs.retrieve(job.id).status not in ("succeeded", "failed", "cancelled"):
    time.sleep(0.05)
job = jobs.retrieve(job.id)
check(job.status == "succeeded" and job.fine_tuned_model == f"ft:tiny:afina:mi-clase:{job.id[6:]}" and job.trained_tokens > 0, f"{job}")
events = list(jobs.list_events(job.id, limit=3))
check(events[0].message == "The job has completed" and events[-1].message.startswith("Created") and len(events) > 6
      and len({e.id for e in events}) == len(events), "events over 3 pages")
metrics = [e.data for e in events if e.type == "metrics"]
check(all("train_loss" in m and "step" in m for m in metrics) and any("full_valid_loss" in m for m in metrics), "metrics")
check(all(0 <= m["train_mean_token_accuracy"] <= 1 for m in metrics), "token accuracy in events")
points = list(jobs.checkpoints.list(job.id, limit=2))
check(len(points) == 5 and points[0].step_number > points[-1].step_number and points[0].metrics.full_valid_loss > 0, "checkpoints over 3 pages")
check(all(getattr(p.metrics, name) is not None for p in points for name in ("step", "train_loss", "train_mean_token_accuracy", "valid_loss",
      "valid_mean_token_accuracy", "full_valid_loss", "full_valid_mean_token_accuracy")), "the seven numbers of a checkpoint")
check(c.files.content(job.result_files[0]).text.startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,"), "results")
check([j.id for j in jobs.list(extra_query={"metadata[clase]": "3B"})] == [job.id], "jobs by metadata")
check(list(jobs.list(extra_query={"metadata[clase]": "4B"})) == [], "no jobs by metadata")
for model in (job.fine_tuned_model, points[-1].fine_tuned_model_checkpoint):
    check(c.chat.completions.create(**{**ask, "model": model}).model == model, "chat with " + model)
fails(openai.BadRequestError, 400, "cancel what is over", lambda: jobs.cancel(job.id))
fails(openai.BadRequestError, 400, "no such training file", lambda: jobs.create(model="tiny", training_file="file-x"))
fails(openai.NotFoundError, 404, "no such base", lambda: jobs.create(model="huge", training_file=names[0]))

long = jobs.create(model="tiny", training_file=names[0], hyperparameters={"n_epochs": 50, "batch_size": 1})
for _ in range(2):
    more = jobs.create(model="tiny", training_file=names[0])
    jobs.cancel(more.id)
check(len(list(jobs.list(limit=1))) >= 4, "jobs over 3 pages")
while jobs.retrieve(long.id).status != "running":
    time.sleep(0.01)
check(c.chat.completions.create(**{**ask, "model": long.id + ":live"}).choices[0].finish_reason, "chat with a running job")
jobs.pause(long.id)
while jobs.retrieve(long.id).status != "paused":
    time.sleep(0.01)
check(jobs.resume(long.id).status in ("queued", "running"), "pause and resume")
check(jobs.cancel(long.id).id == long.id, "cancel")
while jobs.retrieve(long.id).status != "cancelled":
    time.sleep(0.01)

# Chat.
r = c.chat.completions.create(**ask, n=3, logprobs=True, top_logprobs=2)
check([x.index for x in r.choices] == [0, 1, 2] and len({x.message.content for x in r.choices}) > 1, "n=3")
check(r.usage.completion_tokens == 24 and r.usage.total_tokens == r.usage.prompt_tokens + 24 and r.usage.prompt_tokens_details.cached_tokens >= 0, "usage")
for x in r.choices:
    check(x.finish_reason == "length" and len(x.logprobs.content) == 8, "logprobs")
    for t in x.logprobs.content:
        check(t.logprob <= 0 and len(t.top_logprobs) == 2 and t.top_logprobs[0].logprob >= t.logprob, "a token's")
    text = b"".join(bytes(t.bytes or []) for t in x.logprobs.content).decode("utf-8", "replace")
    check(text == x.message.content, "bytes")
again = c.chat.completions.create(**ask, n=3)
check([x.message.content for x in again.choices] == [x.message.content for x in r.choices], "seed")
text = r.choices[0].message.content
stop = text[2]
stopped = c.chat.completions.create(**ask, stop=[stop])
check(stopped.choices[0].message.content == text[:text.index(stop)] and stopped.choices[0].finish_reason == "stop", "stop")

whole, usages, roles = {}, [], []
for chunk in c.chat.completions.create(**ask, n=3, stream=True, stream_options={"include_usage": True}):
    if chunk.usage:
        usages.append(chunk.usage)
    for x in chunk.choices:
        if x.delta.role:
            roles.append(x.index)
        whole[x.index] = whole.get(x.index, "") + (x.delta.content or "")
check(whole == {x.index: x.message.content for x in r.choices} and roles == [0, 1, 2], "stream")
check(len(usages) == 1 and usages[0].completion_tokens == 24, "usage of a stream")
with c.chat.completions.stream(**ask, n=2) as s:
    for _ in s:
        pass
    check(s.current_completion_snapshot.choices[1].message.content == r.choices[1].message.content, "stream helper")

schema = {"type": "object", "additionalProperties": False, "required": ["n", "kind"], "properties": {
    "n": {"type": "integer", "minimum": 0, "maximum": 99}, "kind": {"enum": ["suma", "resta"]},
    "why": {"type": "string", "maxLength": 8}}}
form = {"type": "json_schema", "json_schema": {"name": "tarea", "strict": True, "schema": schema}}
for i in range(100):
    x = c.chat.completions.create(**{**ask, "seed": i, "max_tokens": 200, "temperature": 1}, response_format=form).choices[0]
    v = json.loads(x.message.content)
    ok = x.finish_reason == "stop" and 0 <= v["n"] <= 99 and v["kind"] in ("suma", "resta") and set(v) <= {"n", "kind", "why"} and len(v.get("why", "")) <= 8
    if not ok:
        sys.exit(f"python: schema: {x}")
check(True, "json_schema, 100 of 100")
from pydantic import BaseModel


class Tarea(BaseModel):
    n: int
    facil: bool


parsed = c.chat.completions.parse(**{**ask, "max_tokens": 200}, response_format=Tarea).choices[0].message.parsed
check(isinstance(parsed, Tarea), "parse")
try:
    c.chat.completions.parse(**{**ask, "max_tokens": 2}, response_format=Tarea)
    sys.exit("python: a cut answer was parsed")
except openai.LengthFinishReasonError:
    check(True, "length of JSON")

tools = [{"type": "function", "function": {"name": "sumar", "parameters": {"type": "object", "additionalProperties": False,
          "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}}}}]
r = c.chat.completions.create(**{**ask, "model": "toolful", "max_tokens": 200}, tools=tools, tool_choice="required", parallel_tool_calls=False)
call = r.choices[0].message.tool_calls[0]
check(r.choices[0].finish_reason == "tool_calls" and call.function.name == "sumar" and 0 <= json.loads(call.function.arguments)["a"] <= 9, "tool call")
c.chat.completions.create(**{**ask, "model": "toolful", "messages": ask["messages"] + [r.choices[0].message.to_dict(),
                          {"role": "tool", "tool_call_id": call.id, "content": "5"}]}, tools=tools)
with c.chat.completions.stream(**{**ask, "model": "toolful", "max_tokens": 200}, tools=tools, tool_choice={"type": "function", "function": {"name": "sumar"}}) as s:
    for _ in s:
        pass
    check(s.get_final_completion().choices[0].message.tool_calls[0].function.name == "sumar", "tool call, streamed")
# Calls, streamed while they are written: by hand, and by the helper.
for model in ("toolful", "mistral"):
    for choice, parallel in (("required", False), ("required", True), ({"type": "function", "function": {"name": "sumar"}}, True)):
        asked = {**ask, "model": model, "max_tokens": 400, "temperature": 1, "tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel}
        calls, reasons, parts = [], [], 0
        for chunk in c.chat.completions.create(**asked, stream=True):
            reasons += [chunk.choices[0].finish_reason] if chunk.choices[0].finish_reason else []
            for p in chunk.choices[0].delta.tool_calls or []:
                if p.index == len(calls):
                    check(p.id and p.type == "function" and p.function.name == "sumar" and p.function.arguments == "", "a call begins with its name")
                    calls.append([p.id, ""])
                else:
                    check(p.index == len(calls) - 1 and p.id is None and p.type is None and p.function.name is None and p.function.arguments, "a call goes on with its arguments")
                    calls[p.index][1] += p.function.arguments
                    parts += 1
        check(reasons == ["tool_calls"] and calls and (parallel or len(calls) == 1) and parts >= 5 * len(calls)
              and all(0 <= json.loads(text)["a"] <= 9 for _, text in calls), f"calls of {model} in pieces")
        with c.chat.completions.stream(**asked) as s:
            for _ in s:
                pass
            final = s.get_final_completion().choices[0].message.tool_calls
        check([x.function.arguments for x in final] == [text for _, text in calls], "the helper sees the same calls")
    whole = c.chat.completions.create(**asked).choices[0].message
    check([x.function.arguments for x in whole.tool_calls] == [text for _, text in calls], "so does who waits for the whole")
    answers = [{"role": "tool", "tool_call_id": x.id, "content": "5"} for x in whole.tool_calls]
    r = c.chat.completions.create(**{**asked, "tool_choice": "none", "max_tokens": 8, "messages": ask["messages"] + [whole.to_dict()] + answers})
    check(r.choices[0].message.tool_calls is None and r.choices[0].finish_reason in ("stop", "length"), "no call where none may be")
    r = c.chat.completions.create(**{**asked, "tool_choice": "required", "max_tokens": 30})
    check(r.choices[0].finish_reason == "length" or r.choices[0].message.tool_calls, "a call cut off says so")

e = fails(openai.BadRequestError, 400, "a model without tools", lambda: c.chat.completions.create(**ask, tools=tools))
check(e.param == "tools", "tools are named")
e = fails(openai.BadRequestError, 400, "image", lambda: c.chat.completions.create(**{**ask, "messages": [{"role": "user", "content": [
    {"type": "image_url", "image_url": {"url": "data:"}}]}]}))
check(e.param == "messages[0].content[0].type" and e.code == "unsupported_parameter", "the part is named")
fails(openai.NotFoundError, 404, "no such model", lambda: c.chat.completions.create(**{**ask, "model": "huge"}))
fails(openai.PermissionDeniedError, 403, "another origin", lambda: c.with_options(default_headers={"Origin": "http://other.example"}).chat.completions.create(**ask))
fails(openai.ConflictError, 409, "delete a base", lambda: c.models.delete("tiny"))
fails(openai.UnprocessableEntityError, 422, "a file that is no dataset", lambda: c.files.create(file=("bad.jsonl", b'{"messages":[]}'), purpose="fine-tune"))
fails(openai.AuthenticationError, 401, "key", lambda: c.with_options(api_key="wrong").models.list())

# Text.
r = c.completions.create(model="tiny", prompt=["a", "b"], n=2, echo=True, seed=1)
check([x.index for x in r.choices] == [0, 1, 2, 3] and r.choices[2].text[0] == "b" and r.usage.completion_tokens == 64, "completions")
r = c.completions.create(model="tiny", prompt=[1, 2, 3], max_tokens=4, logprobs=2, seed=1)
check(len(r.choices[0].logprobs.tokens) == 4 and len(r.choices[0].logprobs.top_logprobs[0]) <= 2, "completions of tokens")
check("".join(x.choices[0].text for x in c.completions.create(model="tiny", prompt=[1, 2, 3], max_tokens=4, seed=1, stream=True)) == r.choices[0].text, "completions, streamed")
e = c.embeddings.create(model="tiny", input=["hola", "hola", "adiós"])
check(len(e.data) == 3 and e.data[0].embedding == e.data[1].embedding != e.data[2].embedding and e.usage.prompt_tokens > 0, "embeddings")
check(abs(sum(x * x for x in e.data[0].embedding) - 1) < 1e-3, "embeddings have length 1")

check(c.models.delete(job.fine_tuned_model).deleted, "delete a model")
fails(openai.NotFoundError, 404, "a deleted model", lambda: c.models.retrieve(job.fine_tuned_model))
print("all well")
