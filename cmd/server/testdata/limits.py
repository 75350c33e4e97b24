"""What OpenAI's own Python client makes of a service that is full, fails or stops.
Arguments: base URL, which of these, a file."""
import sys
import time

import openai

base, act, file = sys.argv[1:]
seen = []  # every answer: status, when, after how many seconds to come back
make_room = False


def note(r):
    seen.append((r.status_code, time.monotonic(), r.headers.get("retry-after")))
    if r.status_code == 429 and make_room:
        waiting = [j for j in plain.fine_tuning.jobs.list() if j.status == "queued"]
        plain.fine_tuning.jobs.cancel(waiting[0].id)


plain = openai.OpenAI(base_url=base, api_key="0123456789abcdef", max_retries=0)
c = plain.with_options(http_client=openai.DefaultHttpxClient(event_hooks={"response": [note]}))
again = c.with_options(max_retries=1)
ask = dict(model="endless", messages=[{"role": "user", "content": "hola"}], max_tokens=4)
order = dict(model="tiny", training_file=file, hyperparameters={"n_epochs": 50})


def check(ok, what):
    if not ok:
        sys.exit(f"python: {act}: {what}; seen {seen}")
    print("ok", what)


def fails(kind, status, word, code, what, f):
    try:
        f()
    except kind as e:
        check(e.status_code == status and e.type == word and e.code == code and e.body["message"] and e.request_id.startswith("req_"), what)
        return e
    sys.exit(f"python: {act}: {what}: no error")


def waited(*statuses):
    """The client's last two answers had these statuses, and it came back no sooner than it was told."""
    (first, at, pause), (second, then, _) = seen[-2:]
    return (first, second) == statuses and then - at >= int(pause) >= 1


if act == "fails":
    e = fails(openai.InternalServerError, 500, "internal_error", "internal_error", "500", lambda: c.files.content(file))
    check(e.request_id in e.body["message"], "what the log has it under")
elif act == "jobs":
    e = fails(openai.RateLimitError, 429, "rate_limit_exceeded", "quota_exceeded", "429", lambda: c.fine_tuning.jobs.create(**order))
    check(int(e.response.headers["retry-after"]) >= 1, "when to come back")
    make_room = True
    check(again.fine_tuning.jobs.create(**order).status == "queued" and waited(429, 200), "the client waits, and has its job")
elif act == "answers":
    for stream in (False, True):
        e = fails(openai.InternalServerError, 503, "overloaded_error", "overloaded", "503", lambda: c.chat.completions.create(**ask, stream=stream))
        check(int(e.response.headers["retry-after"]) >= 1, "when to come back")
    fails(openai.InternalServerError, 503, "overloaded_error", "overloaded", "503, twice", lambda: again.chat.completions.create(**ask))
    check(waited(503, 503), "the client waits, and tries again")
elif act == "stops":
    for what, f in (("chat", lambda: c.chat.completions.create(**ask)), ("models", lambda: c.models.list())):
        e = fails(openai.InternalServerError, 503, "overloaded_error", "shutting_down", what, f)
        check(int(e.response.headers["retry-after"]) >= 1, "when to come back")
print("all well")
