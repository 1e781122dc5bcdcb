"""The openai package's files and batches, and OpenRouter's key and credits, as their users call them: run in the clients' own
environment by test_openai_batches.py. Prints ok at its end."""

import io
import json
import os
import time

import openai
import openrouter

URL, KEY, OTHER = (os.environ[f"GIGARANK_{name}"] for name in ("URL", "API_KEY", "OTHER_KEY"))
BODY = {"model": "fake", "query": "which red planet", "documents": ["Mars is a red planet", "the sea"]}
ENDED = ("completed", "failed", "expired", "cancelled")


def jsonl(count: int) -> io.BytesIO:
    rows = [{"custom_id": f"r-{number}", "method": "POST", "url": "/v1/rerank", "body": BODY} for number in range(count)]
    stream = io.BytesIO(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    stream.name = "requests.jsonl"
    return stream


def ended(client: openai.OpenAI, batch_id: str) -> openai.types.Batch:
    end = time.monotonic() + 60
    while (batch := client.batches.retrieve(batch_id)).status not in ENDED:
        assert time.monotonic() < end, batch
        time.sleep(0.1)
    return batch


def files_and_a_batch(client: openai.OpenAI) -> None:
    after = {"anchor": "created_at", "seconds": 7_200}
    made = client.files.create(file=jsonl(20), purpose="batch", expires_after=after)
    assert (made.object, made.purpose, made.filename, made.status) == ("file", "batch", "requests.jsonl", "processed")
    assert made.expires_at - made.created_at == 7_200
    assert client.files.retrieve(made.id).bytes == len(jsonl(20).getvalue()) == made.bytes
    assert [one.id for one in client.files.list(purpose="batch")] == [made.id]
    assert client.files.content(made.id).read() == jsonl(20).getvalue()
    batch = client.batches.create(input_file_id=made.id, endpoint="/v1/rerank", completion_window="24h", metadata={"run": "1"})
    assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"run": "1"})
    batch = ended(client, batch.id)
    assert (batch.status, batch.errors, batch.error_file_id, batch.model) == ("completed", None, None, "fake")
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (20, 20, 0)
    assert batch.usage.total_tokens > 0 and batch.usage.output_tokens_details.reasoning_tokens == 0
    rows = [json.loads(text) for text in client.files.content(batch.output_file_id).text.splitlines()]
    assert {row["custom_id"] for row in rows} == {f"r-{number}" for number in range(20)}
    assert all(row["response"]["body"]["results"][0]["index"] == 0 for row in rows)
    assert client.files.delete(made.id).deleted
    assert batch.id in [one.id for one in client.batches.list(limit=1)]


def refusals(client: openai.OpenAI) -> None:
    for call in (client.files.retrieve, client.files.content, client.files.delete, client.batches.retrieve):
        try:
            call("file-nobody-has")
        except openai.NotFoundError as error:
            assert error.code == "not_found", error.body
        else:
            raise AssertionError("a file that nobody has was found")
    made = client.files.create(file=io.BytesIO(b"nonsense\n"), purpose="batch")
    failed = ended(client, client.batches.create(input_file_id=made.id, endpoint="/v1/rerank", completion_window="24h").id)
    assert (failed.status, failed.errors.data[0].line, failed.errors.data[0].code) == ("failed", 1, "invalid_json_line")
    other = openai.OpenAI(api_key=OTHER, base_url=f"{URL}/v1")
    assert list(other.files.list()) == [] and list(other.batches.list()) == []


def cancelled(client: openai.OpenAI) -> None:
    made = client.files.create(file=jsonl(400), purpose="batch")
    batch = client.batches.create(input_file_id=made.id, endpoint="/v1/rerank", completion_window="24h")
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = ended(client, batch.id)
    assert batch.status == "cancelled" and batch.cancelled_at is not None
    rows = [json.loads(text) for text in client.files.content(batch.error_file_id).text.splitlines()]
    assert {row["error"]["code"] for row in rows} == {"batch_cancelled"}
    assert len(rows) + batch.request_counts.completed == 400


def key_and_credits() -> None:
    with openrouter.OpenRouter(api_key=KEY, server_url=f"{URL}/api/v1") as client:
        key = client.api_keys.get_current_key_metadata().data
        credits = client.credits.get_credits().data
    assert (key.limit, key.limit_remaining, key.is_free_tier) == (None, None, False)
    assert key.usage == key.usage_daily == credits.total_usage > 0 and credits.total_credits == 1.0


def main() -> None:
    client = openai.OpenAI(api_key=KEY, base_url=f"{URL}/v1")
    files_and_a_batch(client)
    refusals(client)
    cancelled(client)
    key_and_credits()
    print("ok")


if __name__ == "__main__":
    main()
