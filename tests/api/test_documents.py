"""Documents, manifests of code and names: what people read beside hashes and addresses."""

from __future__ import annotations

import hashlib
import re
import secrets
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from analytics.code import Manifest, changes_between, manifest_of
from api.errors import Answered, NotAuthorised, NotThere, NotUnderstood, VerificationFailed
from api.http.code_manifests import write_manifest
from api.pages.markdown import render_markdown
from chain.wallets import Wallet
from governance import names
from governance.documents import MAX_DOCUMENT, Documents, read_document
from governance.errors import BucketUnavailable, ObjectAltered, RequestInvalid
from governance.objects.vault import DOCUMENT, Bucket
from governance.permit_review import EARLIER, count_willing
from governance.readmodel.queries import find_permit

PLAN = b"# Relapse from genes\n\nWe *compare* two models.\r\n\r\n| a | b |\n"


def registered(deployment, text: bytes = b"") -> bytes:
    """A text whose hash the ledger has, as the description of a new dataset."""
    text = text or PLAN + secrets.token_hex(8).encode()
    deployment.as_("omar").register_dataset(secrets.token_bytes(32), hashlib.sha256(text).digest())
    return text


def test_a_text_travels_under_its_hash(deployment) -> None:
    text = registered(deployment)
    anybody, digest = deployment.anybody(), hashlib.sha256(text).hexdigest()
    with pytest.raises(NotThere, match="obody has sent"):
        anybody.document(digest)
    answer = anybody.send_document(text)
    assert answer == {"document": digest, "title": "Relapse from genes"}
    assert anybody.send_document(text) == answer
    assert anybody.document(digest).encode() == text
    assert digest in {row["document"] for row in anybody.datasets() if row["title"]}


def test_only_a_text_that_the_ledger_names_is_taken(deployment) -> None:
    """Else anybody could fill the bucket."""
    with pytest.raises(NotThere, match="names nothing with this hash"):
        deployment.anybody().send_document(PLAN)
    assert deployment.services.bucket.find_text(DOCUMENT, hashlib.sha256(PLAN).digest()) is None


def test_another_text_is_refused(deployment) -> None:
    digest = hashlib.sha256(registered(deployment)).hexdigest()
    answer = httpx.put(f"{deployment.url}/documents/{digest}", content=b"# Another\n")
    assert answer.status_code == 422
    assert "not the one with this hash" in answer.json()["detail"]


def test_a_bucket_that_gives_another_text_is_seen(deployment) -> None:
    text = registered(deployment)
    deployment.services.bucket.put_text(DOCUMENT, hashlib.sha256(text).digest(), b"# False\n")
    with pytest.raises(Answered, match="not the one that the ledger names"):
        deployment.anybody().document(hashlib.sha256(text).hexdigest())


def test_a_service_that_gives_another_text_is_seen(
    deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = deployment.anybody()
    monkeypatch.setattr(reader, "_get", lambda *_: {"text": "# False\n"})
    with pytest.raises(VerificationFailed, match="another text"):
        reader.document(hashlib.sha256(PLAN).hexdigest())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"# Title\n" + b"x" * MAX_DOCUMENT, "larger than 64 KiB"),
        (b"# Title \xff\n", "not text in UTF-8"),
        (b"", "begin with its title"),
        (b"No heading\n", "begin with its title"),
        (b"#Title\n", "begin with its title"),
        (b"# \n", "begin with its title"),
        (b"# " + b"t" * 121, "begin with its title"),
        ("\ufeff# Title\n".encode(), "begin with its title"),
        ("# Approved \u202eton\n".encode(), "U+202E"),
        (b"# Title\n\x00", "U+0000"),
        (b"# Title\nfirst\rsecond", "U+000D"),
        ("# Title\u2028# Other\n".encode(), "U+2028"),
        ("# Ti\u200btle\n".encode(), "U+200B"),
        ("# \u3164\n".encode(), "U+3164"),
        ("# \u200c\n".encode(), "U+200C"),
        ("# Ti\u200d\u200dtle\n".encode(), "U+200D"),
        ("# Title \u200dx\n".encode(), "U+200D"),
        ("# Title\ufe0f\n".encode(), "U+FE0F"),
        ("# Title\U000e0101\n".encode(), "U+E0101"),
        (("# Titl" + "e\u0301" + "\u0301" * 9).encode(), "U+0301"),
        (
            b"# T\n" + (b"|a" * 128 + b"\n" + b"|-" * 128 + b"\n" + b"a\n" * 500 + b"\n") * 4,
            "cells",
        ),
        (b"# T\n> " + b"|a" * 60 + b"\n> " + b"|-" * 60 + b"\n" + b"> a\n" * 400, "cells"),
    ],
)
def test_what_is_no_document(data: bytes, sentence: str) -> None:
    with pytest.raises(RequestInvalid, match=sentence.replace("+", r"\+")):
        read_document(data)


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"# {text}".encode()))
def test_a_document_is_shown_as_it_was_hashed(data: bytes) -> None:
    try:
        document = read_document(data)
    except RequestInvalid:
        return
    assert document.text.encode() == data
    assert "\u202e" not in document.title
    assert not {"\n", "\r", "\x1b"} & set(document.title)


def test_hidden_markup_and_links_are_words() -> None:
    """Whoever reads a plan sees what is in it; the page can neither lead away nor load anything."""
    shown = render_markdown(
        "# T\n\n<script>x</script> [a](javascript:b) <http://c.example> ![d](http://e.example/f)\n"
        "\n##### Deep\n\n# Top\n\n| a |\n|--:|\n| b |\n"
    )
    assert "<script" not in shown
    assert "<a " not in shown
    assert "<img" not in shown
    assert "style=" not in shown
    assert re.findall(r"<h\d>[^<]*", shown) == ["<h3>Deep", "<h3>Top"]


@pytest.mark.parametrize(
    "body",
    [
        "| a | b |\n|---|---|\n| 1 | 2 | HIDDEN |",
        "``` x HIDDEN INFO\ncode\n```",
        ">" * 25 + " HIDDEN",
        "- " * 12 + "HIDDEN",
        "[a]: HIDDEN",
        "<!-- HIDDEN -->",
        "![HIDDEN](x)",
    ],
)
def test_no_word_of_a_text_is_left_out(body: str) -> None:
    assert "HIDDEN" in Markup(render_markdown(f"# T\n{body}\n")).striptags()


def test_an_entity_is_no_character_that_nobody_sees() -> None:
    shown = render_markdown("# T\nto &#x202e;seinapmoc on&#x202c; &ZeroWidthSpace;\n")
    assert not {"\u202e", "\u202c", "\u200b"} & set(shown.unescape())


def test_scripts_that_need_joiners_and_marks_have_them() -> None:
    """Persian, Hindi, and Vietnamese in parts."""
    text = "# \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u0915\u094d\u200d\u0937 e\u0302\u0301\n"
    assert read_document(text.encode()).text == text


@pytest.mark.parametrize(
    "body",
    [
        "18. lower\n65. upper\n90. most\n",
        "1. first\n500000. persons\n",
        "> 7. a\n> 9. b\n",
        "- 5 mg\n",
        "* - 5 mg\n",
        "+ 3 %\n",
        "2**3**4\n",
        "2*3*4\n",
    ],
)
def test_a_number_is_shown_as_it_is_written(body: str) -> None:
    assert render_markdown(f"# T\n{body}") == Markup("<pre>{}</pre>").format(body)


@pytest.mark.parametrize(
    "body", ["1. a\n2. b\n   1. c\n   2. d\n3. e\n", "- five mg\n", "7. a\n8. b\n", "2 * 3 - 4\n"]
)
def test_counted_lists_and_sums_stay_what_they_are(body: str) -> None:
    assert "<pre>" not in render_markdown(f"# T\n{body}")


def test_an_ordinary_plan_is_rendered() -> None:
    """And not shown word for word only."""
    text = "# T\n\n## A\n\n1. *one*\n2. two_three `x`\n   - deep\n\n> quote\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n"
    shown = render_markdown(text)
    assert "<pre>" not in shown
    assert shown.count("<li>") == 3
    assert "<table>" in shown


def test_pages_wait_once_for_a_bucket_that_is_away() -> None:
    class Away(Bucket):
        def __init__(self) -> None:
            self.reads = 0

        def find_text(self, kind: str, digest: bytes) -> bytes | None:
            self.reads += 1
            raise BucketUnavailable("away", "wait")

    bucket, now = Away(), [0.0]
    documents = Documents(bucket, clock=lambda: now[0])
    assert [documents.title(f"{number:064x}") for number in range(20)] == [""] * 20
    assert bucket.reads == 1
    now[0] = 11.0
    documents.title("0" * 64)
    assert bucket.reads == 2


class _Altered(Bucket):
    """A bucket that stops answering, and a clock that counts its reads."""

    def __init__(self) -> None:
        self.texts: dict[bytes, bytes] = {}
        self.reads = 0

    def find_text(self, kind: str, digest: bytes) -> bytes | None:
        self.reads += 1
        return self.texts.get(digest)


def test_titles_are_remembered_and_missing_texts_looked_for_again() -> None:
    bucket, now = _Altered(), [0.0]
    documents = Documents(bucket, clock=lambda: now[0])
    digest = hashlib.sha256(PLAN)
    assert [documents.title(digest.hexdigest()) for _ in range(5)] == [""] * 5
    assert bucket.reads == 1
    bucket.texts[digest.digest()] = PLAN
    now[0] = 11.0
    assert [documents.title(digest.hexdigest()) for _ in range(5)] == ["Relapse from genes"] * 5
    assert bucket.reads == 2
    bucket.texts[digest.digest()] = b"# Another\n"
    assert documents.get(digest.hexdigest()).text.encode() == PLAN  # remembered
    with pytest.raises(ObjectAltered):
        Documents(bucket).get(digest.hexdigest())


def test_a_permit_shows_what_changed_in_its_code_and_what_was_asked_before(deployment) -> None:
    world, anybody = deployment.world, deployment.anybody()
    old = Manifest({"run.py": "11" * 32, "gone.py": "22" * 32}, ("numpy==1.0", "python==3.11.7"))
    new = Manifest({"run.py": "33" * 32, "new.py": "44" * 32}, ("numpy==2.0", "python==3.11.7"))
    dataset = secrets.token_bytes(32)
    world.register_dataset(dataset)
    first = world.permit(codeHash=old.digest, dataset=dataset).hex()
    second = world.permit(codeHash=new.digest, dataset=dataset).hex()
    for _ in range(EARLIER):  # on other data: they come after the one on the same data
        world.permit()
    review = anybody.permit_review(second)
    assert review["code"] == {"current": False, "comparedWith": first, "changes": None}
    for manifest in (old, new):
        anybody.send_code(manifest.digest.hex(), write_manifest(manifest))
    assert anybody.permit_review(second)["code"]["changes"] == [
        "gone.py: removed",
        "new.py: new",
        "run.py: changed",
        "without numpy==1.0",
        "with numpy==2.0",
    ]
    run = deployment.as_("noor").request_run(
        bytes.fromhex(first), b'{"model":"logistic"}', secrets.token_bytes(32), 7
    )["run"]
    earlier = next(
        row for row in anybody.permit_review(second)["earlier"] if row["permit"] == first
    )
    assert earlier["questions"] == ['{"model":"logistic"}']
    assert earlier["runs"] == 1
    deployment.as_("noor").cancel(run)


def test_the_service_keeps_the_manifest_of_its_own_code(deployment) -> None:
    """Also for a permit that a page asked for, which sends none: a later release has other code."""
    own = manifest_of()
    message = deployment.world.permit_request(codeHash=own.digest)
    message.pop("deadline")
    deployment.as_("noor").request_permit(message)
    kept = httpx.get(f"{deployment.url}/code/{own.digest.hex()}").json()
    assert kept["files"] == own.files


def test_the_number_of_willing_people_is_rounded(deployment) -> None:
    world, anybody = deployment.world, deployment.anybody()
    permit = world.permit().hex()
    deployment.people(12)
    deployment.services.projection.sync()
    row = find_permit(deployment.services.engine, permit)
    exact = count_willing(
        deployment.services.engine, row.dataset, row.need, row.categories, int(time.time())
    )
    assert exact >= 12
    assert anybody.permit_review(permit)["willing"] == 5 * round(exact / 5)
    other = secrets.token_bytes(32)
    world.register_dataset(other)
    alone = world.permit(dataset=other).hex()
    assert anybody.permit_review(alone)["willing"] is None


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b'{"files":{},"libraries":[],"type":"other"}',
        b'{"files":{"a":"zz"},"libraries":[],"type":"volens/code-manifest/1"}',
        b'{"files":{"a\\n":"' + b"0" * 64 + b'"},"libraries":[],"type":"volens/code-manifest/1"}',
        b'{"files":{},"libraries":[1],"type":"volens/code-manifest/1"}',
    ],
)
def test_what_is_no_manifest_is_refused(deployment, data: bytes) -> None:
    code = deployment.anybody().permits()[0]["codeHash"]
    answer = httpx.put(f"{deployment.url}/code/{code}", content=data)
    assert answer.status_code == 422


def test_a_manifest_of_other_code_is_refused(deployment) -> None:
    code = deployment.anybody().permits()[0]["codeHash"]
    with pytest.raises(NotUnderstood, match="not the one with this hash"):
        deployment.anybody().send_code(code, write_manifest(Manifest({"a": "0" * 64}, ())))
    with pytest.raises(NotThere):
        deployment.anybody().send_code(
            manifest_of().digest.hex()[::-1], write_manifest(manifest_of())
        )


def test_the_running_code_has_no_changes() -> None:
    assert changes_between(manifest_of(), manifest_of()) == []


def test_a_member_of_the_committee_names_accounts(deployment) -> None:
    noor = deployment.world.people["noor"].address
    pia = deployment.as_("pia")
    answer = pia.set_name(noor, " Noor  Haddad ", "University of Porto")
    assert (answer["name"], answer["institution"]) == ("Noor Haddad", "University of Porto")
    assert answer["by"] == pia.wallet.address
    assert deployment.anybody().names()[noor] == answer
    assert pia.set_name(noor, "Noor H. Haddad", "")["name"] == "Noor H. Haddad"


@pytest.mark.parametrize("name", ["noor", "omar", "sol", "vera"])
def test_nobody_else_names_accounts(deployment, name: str) -> None:
    account = deployment.world.people[name].address
    with pytest.raises(NotAuthorised, match="nly a member of the committee"):
        deployment.as_(name).set_name(account, "Quinn of the committee", "")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("QUINN", "nother account has this name"),
        ("\uff31uinn", "mixes scripts"),
        ("Qui\u200bnn", "nobody can see"),
        ("Quinn.", "nother account"),
        ("Qu\u00ednn", "nother account"),
        ("Qu\u0456nn", "mixes scripts"),
        ("Quinn\ufe0f", "nobody can see"),
        ("Qui\u200cnn", "mixes scripts"),
        ("\u3164", "1 to 80 characters|nobody can see"),
        (" ", "1 to 80 characters"),
    ],
)
def test_a_name_that_could_deceive_is_refused(deployment, name: str, sentence: str) -> None:
    pia, people = deployment.as_("pia"), deployment.world.people
    pia.set_name(people["quinn"].address, "Quinn", "")
    with pytest.raises(NotUnderstood, match=sentence):
        pia.set_name(people["noor"].address, name, "")


def test_an_account_is_named_before_it_has_a_role_but_no_patient(deployment, monkeypatch) -> None:
    pia, account = deployment.as_("pia"), Wallet.new().address
    assert pia.set_name(account, "Nuno Reis", "")["account"] == account
    subject = deployment.people()[0]
    with pytest.raises(NotUnderstood, match="whose data are here"):
        pia.set_name(deployment.world.subjects[subject].address, "Eve Adams", "")
    monkeypatch.setattr(names, "MOST_AHEAD", 1)
    with pytest.raises(NotUnderstood, match="have no role"):
        pia.set_name(Wallet.new().address, "Ines Melo", "")
    pia.set_name(account, "Nuno Reis Melo", "")  # the same one again


DICTIONARY = {
    "type": "volens/dictionary/1",
    "people": 110,
    "genotyped": None,
    "variables": [
        {
            "variable": "age_years",
            "unit": "a",
            "category": 2,
            "people": 105,
            "completeness": 95,
        }
    ],
}


def test_a_custodian_publishes_a_dictionary_and_keeps_a_report(deployment) -> None:
    omar, dataset = deployment.as_("omar"), deployment.world.dataset.hex()
    with pytest.raises(NotThere, match="gave no dictionary"):
        deployment.anybody().dictionary(dataset)
    omar.publish_dictionary(dataset, DICTIONARY)
    assert deployment.anybody().dictionary(dataset) == DICTIONARY
    omar.send_report(dataset, ["held back: 7 (coded in an unknown system)"])
    path = f"{deployment.url}/datasets/{dataset}/report"
    for name, status in (("omar", 200), ("noor", 403), ("pia", 403)):
        client = deployment.as_(name)
        client.sign_in()
        answer = httpx.get(path, headers={"Authorization": f"Bearer {client._token}"})
        assert answer.status_code == status
    assert httpx.get(path).status_code == 401


@pytest.mark.parametrize("name", ["noor", "pia", "sol"])
def test_nobody_else_speaks_for_a_dataset(deployment, name: str) -> None:
    dataset = deployment.world.dataset.hex()
    with pytest.raises(NotAuthorised, match="for the dataset's custodian"):
        deployment.as_(name).publish_dictionary(dataset, DICTIONARY)
    with pytest.raises(NotAuthorised, match="for the dataset's custodian"):
        deployment.as_(name).send_report(dataset, ["x"])


@pytest.mark.parametrize(
    "change",
    [{"people": 7}, {"people": 111}, {"type": "other"}, {"more": 1}, {"variables": [{}]}],
)
def test_a_dictionary_tells_no_exact_count(deployment, change: dict[str, object]) -> None:
    with pytest.raises(NotUnderstood):
        deployment.as_("omar").publish_dictionary(
            deployment.world.dataset.hex(), DICTIONARY | change
        )


GENE_SETS = {"sha256": "ab" * 32, "title": "GO terms", "sets": 7, "genes": 90}


def test_a_custodian_publishes_assays_and_gene_sets_one_after_another(deployment) -> None:
    omar, dataset = deployment.as_("omar"), deployment.world.dataset.hex()
    omar.publish_assays(dataset, {"proteins": 10})
    omar.publish_gene_sets(dataset, GENE_SETS)
    omar.publish_assays(dataset, {"proteins": 12})
    features = deployment.anybody().features(dataset)
    assert {"assay": "proteins", "columns": 12} in features["assays"]
    assert features["sets"].count(GENE_SETS) == 1
    for name in ("noor", "pia"):
        with pytest.raises(NotAuthorised, match="for the dataset's custodian"):
            deployment.as_(name).publish_assays(dataset, {"mirna": 1})
    for wrong in ({"Mirna": 1}, {"mirna": 0}, {"mirna <b>": 1}):
        with pytest.raises(NotUnderstood):
            omar.publish_assays(dataset, wrong)


def test_what_stands_behind_a_fence_is_shown_and_the_rest_keeps_its_form() -> None:
    shown = render_markdown('# T\n\n## Who\n\n```study\n{"a": 1}\n```\n')
    assert "<h3>Who</h3>" in shown
    assert "study\n{&quot;a&quot;: 1}" in shown
