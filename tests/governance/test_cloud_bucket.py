"""The bucket by the way to Google Cloud Storage: credentials, refusals, retries and long uploads.

The same tests read and write a real bucket where VOLENS_BUCKET_URL names one (gs://NAME).
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from google_cloud import Google, serve, write_key_file

from api.cli import main
from api.operate import doctor
from api.operate.buckets import open_bucket
from api.operate.doctor_files import Check
from api.operate.health import Health
from api.operate.processes import Parts
from api.operate.settings import Settings
from governance.errors import BucketUnavailable, ObjectMissing
from governance.objects import vault
from governance.objects.bucket_emulator import BucketProcess
from governance.objects.envelope import object_name
from governance.objects.vault import Bucket

LONG = 20 << 20  # bytes: three parts
NOBODY = "o/" + "0" * 64


@pytest.fixture
def google(
    bucket_process: BucketProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Google]:
    """Google's servers, and a machine with a service account's key."""
    servers = Google(bucket_process.url.removeprefix("http://"))
    server = serve(servers)
    write_key_file(tmp_path / "key.json", servers.url + "/token")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    yield servers
    server.shutdown()
    server.server_close()


@pytest.fixture
def name(bucket_process: BucketProcess) -> str:
    """A bucket that exists."""
    name = f"b{secrets.token_hex(8)}"
    Bucket(name, bucket_process.url).create()
    return name


@pytest.fixture
def bucket(google: Google, name: str) -> Bucket:
    return open_bucket(Settings(bucket_url=f"gs://{name}", bucket_endpoint=google.url))


@pytest.mark.parametrize("size", [1, 300_000, LONG])
def test_what_was_put_is_got(
    bucket: Bucket, name: str, bucket_process: BucketProcess, size: int
) -> None:
    blob = secrets.token_bytes(size)
    bucket.probe()
    assert bucket.put(blob) == bucket.put(blob) == object_name(blob)
    assert bucket.get(object_name(blob)) == blob
    assert Bucket(name, bucket_process.url).get(object_name(blob)) == blob
    with pytest.raises(ObjectMissing):
        bucket.get(NOBODY)


def test_a_part_that_was_interrupted_is_sent_again_and_the_others_are_not(
    google: Google, bucket: Bucket
) -> None:
    blob = secrets.token_bytes(LONG)
    google.cuts = 2
    assert bucket.get(bucket.put(blob)) == blob
    assert sorted(google.uploaded()) == sorted([8 << 20, 8 << 20, 8 << 20, 8 << 20, 4 << 20])


def test_an_upload_whose_answer_was_lost_is_no_second_one(google: Google, bucket: Bucket) -> None:
    blob = secrets.token_bytes(300_000)
    google.loses = 1
    assert bucket.get(bucket.put(blob)) == blob


@pytest.mark.parametrize(
    "answered",
    [(308, {"Range": "bytes=0-4194303"}), (404, {"Content-Type": "application/json"})],
    ids=["less kept than sent", "the upload is gone"],
)
def test_an_upload_that_the_bucket_ends_begins_anew(
    google: Google, bucket: Bucket, answered: tuple[int, dict[str, str]]
) -> None:
    blob = secrets.token_bytes(LONG)
    google.parts = [answered]
    assert bucket.get(bucket.put(blob)) == blob
    google.parts = [answered, answered]
    with pytest.raises(BucketUnavailable, match="ended an upload before it was complete"):
        bucket.put(secrets.token_bytes(LONG))


def test_what_a_policy_refuses_is_not_taken_for_an_object_that_is_there(
    google: Google, bucket: Bucket
) -> None:
    """Google answers both with the same status."""
    google.refuses_uploads = 412
    with pytest.raises(BucketUnavailable, match="a policy of the bucket's owner"):
        bucket.put(b"x")


@pytest.mark.parametrize("variable", ["STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE"])
def test_no_variable_of_the_client_leads_to_another_server(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    assert bucket.get(bucket.put(b"with credentials")) == b"with credentials"
    address = Bucket("hospital-1", project="hospital")._client._connection.API_BASE_URL
    assert address == "https://storage.googleapis.com"


@pytest.mark.parametrize("size", [300_000, LONG])
def test_what_changed_on_its_way_is_not_taken(google: Google, bucket: Bucket, size: int) -> None:
    """By its CRC32C, before anybody reads it."""
    google.flips = True
    with pytest.raises(BucketUnavailable):
        bucket.put(secrets.token_bytes(size))


# -- what can be wrong with the account, and with the bucket


def no_key_file(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
    patched.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    patched.setenv("HOME", str(folder))
    patched.setenv("CLOUDSDK_CONFIG", str(folder))
    patched.setenv("NO_GCE_CHECK", "true")  # no machine of Google's, and no wait for its address


def a_key_file_that_is_not_there(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
    patched.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "nothing.json"))


def no_key_in_the_file(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "key.json").write_text('{"type": "service_account", "private_key": "secret"}')


def a_deleted_account(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
    google.account_exists = False


def a_revoked_token(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
    google.refuses = 401


def no_permission(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
    google.refuses = 403


def a_policy(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
    google.refuses = 412


def a_refused_request(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
    google.refuses = 400


Fault = Callable[[Google, pytest.MonkeyPatch, Path], None]


def key_file_with(name: str, content: bytes | None) -> Fault:
    """None: a folder stands where the file should."""

    def fault(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
        path = folder / "other.json"
        path.mkdir() if content is None else path.write_bytes(content)
        patched.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    fault.__name__ = f"a_key_file_that_is_{name}"
    return fault


def answered_token(name: str, content: bytes) -> Fault:
    def fault(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
        google.token = content

    fault.__name__ = f"a_token_that_is_{name}"
    return fault


def refusal(name: str, body: bytes) -> Fault:
    def fault(google: Google, patched: pytest.MonkeyPatch, folder: Path) -> None:
        google.refuses, google.body = 403, body

    fault.__name__ = name
    return fault


def answered_error(message: str, reason: str, **more: object) -> bytes:
    """As Google Cloud Storage's JSON API words it."""
    error = {"message": message, "domain": "global", "reason": reason}
    return json.dumps(
        {"error": {"code": 403, "message": message, "errors": [error]} | more}, indent=2
    ).encode()


def error_info(reason: str) -> list[dict[str, object]]:
    return [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": {"service": "storage.googleapis.com", "consumer": "projects/hospital"},
        }
    ]


NO_BILLING = "billing is off for the project of the bucket, so Google gives no access"
NO_API = "the Cloud Storage API is not enabled in the project of this machine's account"
NO_BILLING_ACCOUNT = "The billing account for the owning project is disabled in state absent"
NOT_USED = (
    "Cloud Storage API has not been used in project hospital before or it is disabled. Enable it by "
    "visiting https://console.developers.google.com/apis/api/storage.googleapis.com/overview?project="
    "hospital then retry."
)
REFUSALS: dict[str, tuple[bytes, str]] = {
    "billing_disabled": (answered_error(NO_BILLING_ACCOUNT, "accountDisabled"), NO_BILLING),
    "billing_disabled_as_text": (NO_BILLING_ACCOUNT.encode(), NO_BILLING),
    "billing_disabled_by_reason": (
        answered_error("hospital", "forbidden", details=error_info("BILLING_DISABLED")),
        NO_BILLING,
    ),
    "billing_of_whoever_pays": (
        answered_error(
            "The project to be billed is associated with an absent billing account.",
            "userProjectAccountProblem",
        ),
        NO_BILLING,
    ),
    "api_not_enabled": (answered_error(NOT_USED, "accessNotConfigured"), NO_API),
    "api_disabled": (
        answered_error(NOT_USED, "forbidden", details=error_info("SERVICE_DISABLED")),
        NO_API,
    ),
    "a_perimeter": (
        answered_error(
            "Request is prohibited by organization's policy. "
            "vpcServiceControlsUniqueIdentifier: hospital",
            "forbidden",
        ),
        "the organisation's policy does not let this machine reach the bucket",
    ),
    "no_permission_as_json": (
        answered_error(
            "volens@hospital.iam.gserviceaccount.com does not have storage.objects.get access to the "
            "Google Cloud Storage object. Permission 'storage.objects.get' denied on resource (or it "
            "may not exist).",
            "forbidden",
        ),
        "this machine's account may not do this in the bucket",
    ),
    "no_reason_at_all": (
        b"<html>Forbidden</html>",
        "this machine's account may not do this in the bucket",
    ),
}
NO_KEY_FILES = {
    "a_list": b"[]",
    "a_text": b'"x"',
    "null": b"null",
    "deep": b"[" * 100_000,
    "impersonated": b'{"type": "impersonated_service_account"}',
    "a_folder": None,
}
NO_TOKENS = {
    "html": b"<html>",
    "a_list": b"[]",
    "endless": b'{"access_token": "x", "expires_in": "never"}',
}
FAULTS: dict[Fault, str] = {
    no_key_file: "this machine has no usable credentials for Google Cloud Storage",
    a_key_file_that_is_not_there: "this machine has no usable credentials for Google Cloud Storage",
    no_key_in_the_file: "this machine has no usable credentials for Google Cloud Storage",
    a_deleted_account: "Google does not accept this machine's credentials",
    a_revoked_token: "Google does not accept this machine's credentials",
    no_permission: "this machine's account may not do this in the bucket",
    a_refused_request: "the bucket does not take the request",
    a_policy: "a policy of the bucket's owner does not allow this",
} | {
    key_file_with(*file): "this machine has no usable credentials for Google Cloud Storage"
    for file in NO_KEY_FILES.items()
}
FAULTS |= {
    answered_token(*token): "the bucket does not answer as it should" for token in NO_TOKENS.items()
}
FAULTS |= {refusal(name, body): says for name, (body, says) in REFUSALS.items()}
CALLS: dict[str, Callable[[Bucket], object]] = {
    "probe": Bucket.probe,
    "put": lambda bucket: bucket.put(b"x"),
    "get": lambda bucket: bucket.get(NOBODY),
    "create": lambda bucket: bucket.create("europe-west3"),
}


# A call of each kind, and each fault once.
FAILING = [(fault, call) for fault in (no_key_file, no_permission) for call in CALLS]
FAILING += [(fault, "put") for fault in FAULTS if fault not in (no_key_file, no_permission)]


@pytest.mark.parametrize(
    ("fault", "call"), FAILING, ids=[f"{fault.__name__}-{call}" for fault, call in FAILING]
)
def test_each_fault_is_one_plain_sentence(
    google: Google,
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    call: str,
) -> None:
    fault(google, monkeypatch, tmp_path)
    with pytest.raises(BucketUnavailable) as caught:
        CALLS[call](bucket)
    assert str(caught.value) == FAULTS[fault]
    assert "hospital" not in str(caught.value) + caught.value.hint
    assert str(tmp_path) not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("x does not have storage.objects.create access", "give it storage.objects.create, as"),
        ("x does not have storage.secrets.steal access", "give it the permissions, as"),
    ],
)
def test_a_missing_permission_is_named(
    google: Google, bucket: Bucket, message: str, hint: str
) -> None:
    """One of those that the service uses: no other word of the answer."""
    google.refuses, google.body = 403, answered_error(message, "forbidden")
    with pytest.raises(BucketUnavailable) as caught:
        bucket.put(b"x")
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_doctor_says_the_same(
    google: Google,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    addresses = dict.fromkeys(("chain", "broker", "api"), "http://127.0.0.1:9")
    (tmp_path / "run.json").write_text(json.dumps(addresses))
    settings = Settings(home=tmp_path, bucket_url=f"gs://{name}", bucket_endpoint=google.url)

    def bucket() -> Check:
        return next(part for part in doctor._parts(settings, {}) if part.name == "bucket")

    assert (bucket().state, bucket().means) == ("ok", "answers, and has the bucket that is named")
    fault(google, monkeypatch, tmp_path)
    assert (bucket().state, bucket().means) == ("down", FAULTS[fault])
    assert bucket().do


def test_a_token_address_that_is_silent_is_named(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_key_file(tmp_path / "key.json", "http://127.0.0.1:1/token")
    monkeypatch.setattr(vault, "_AWAY", vault._HERE)  # two seconds instead of thirty
    with pytest.raises(BucketUnavailable, match="where Google gives tokens") as caught:
        bucket.probe()
    assert "token_uri" in caught.value.hint


def test_a_bucket_in_a_project_that_is_absent_is_not_made(google: Google, bucket: Bucket) -> None:
    google.refuses = 404
    with pytest.raises(BucketUnavailable, match="should belong to does not exist"):
        bucket.create("europe-west3")


def test_deep_json_of_an_emulator_is_no_answer() -> None:
    class Deep(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"[" * 100_000)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Deep) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(BucketUnavailable, match="does not answer as it should"):
            Bucket("volens", f"http://127.0.0.1:{server.server_port}").probe()


def test_a_part_whose_question_fails_hides_no_other() -> None:
    def fails() -> httpx.Response:
        raise AttributeError

    report = Health({"bucket": fails, "ledger": lambda: httpx.Response(200)}, lambda _: []).report(
        0
    )
    assert (report["bucket"]["state"], report["ledger"]["state"]) == ("down", "ok")


@pytest.mark.parametrize("call", ["probe", "put", "get"])
def test_a_bucket_that_is_absent_is_no_missing_object(google: Google, call: str) -> None:
    with pytest.raises(BucketUnavailable, match="the bucket does not exist"):
        CALLS[call](Bucket("nowhere", endpoint=google.url))


# -- the parts on a bucket of Google's


def parts(google: Google, folder: Path, **change: str) -> Parts:
    settings = {"bucket_url": "gs://volens-hospital", "bucket_endpoint": google.url} | change
    return Parts(folder, Settings(home=folder, **settings))


def test_serving_makes_the_bucket_only_where_a_place_is_named(
    google: Google, tmp_path: Path
) -> None:
    with pytest.raises(BucketUnavailable, match="the bucket does not exist"):
        parts(google, tmp_path).start_bucket()
    opened = parts(google, tmp_path, bucket_location="europe-west3", bucket_project="hospital")
    opened.start_bucket()
    assert opened.urls["bucket"] == "gs://volens-hospital"
    assert opened.bucket is None, "an emulator was started beside it"
    parts(google, tmp_path).start_bucket()
    asked = [path for method, path, _ in google.requests if method == "POST" and "/b?" in path]
    assert asked
    assert all("project=hospital" in path for path in asked)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("gs://", "names no bucket: the name after gs:// is missing"),
        ("gs:", "names no bucket: the name after gs:// is missing"),
        ("gs://name/folder", "after gs:// stands its name alone"),
        ("gs://Hospital", "in small letters, digits, dashes"),
        ("GS://name/folder", "after gs:// stands its name alone"),
        (
            "s3://ledger:word@x",
            "s3:// is of another kind of storage, and only Google Cloud Storage",
        ),
        ("http://", "http:// without a host"),
        ("bucket", "begins with neither gs:// nor http://"),
        ("localhost:9000", "begins with neither gs:// nor http://"),
    ],
)
def test_an_address_of_no_bucket_says_what_is_missing_before_anything_starts(
    address: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.setenv("VOLENS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VOLENS_BUCKET_URL", address)
    monkeypatch.setattr(sys, "argv", ["volens", "serve"])
    with pytest.raises(SystemExit) as stopped:
        main()
    output = "".join(capfd.readouterr())
    assert stopped.value.code == 2
    assert text in output.replace("\n", " ")
    assert "gs://NAME" in output
    assert "word" not in output
    assert not (tmp_path / "home" / "chain").exists()


# -- a real one


def test_a_real_bucket() -> None:
    if not Settings().bucket_url.startswith("gs://"):
        pytest.skip("name a bucket of Google Cloud Storage in VOLENS_BUCKET_URL")
    bucket = open_bucket(Settings())
    bucket.probe()
    for size in (1, 300_000, LONG):
        blob = secrets.token_bytes(size)
        assert bucket.get(bucket.put(blob)) == blob
    with pytest.raises(ObjectMissing):
        bucket.get("o/" + secrets.token_hex(32))
