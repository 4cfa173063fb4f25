"""FHIR resources and bundles like hospital exports, and structural mutations of them."""

import gzip
import json
import random
from typing import Any

from hypothesis import strategies as st

from analytics.readers.codes import UCUM, URIS

CM, LOINC, RXNORM, ATC, PCS = (
    URIS[name] for name in ("icd-10-cm", "loinc", "rxnorm", "atc", "icd-10-pcs")
)
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
ABOUT = {"subject": {"reference": "Patient/p"}}
_JUNK = st.sampled_from(
    [None, True, 7, "", "x", [], {}, [None], [[]], {"x": {}}, ["x"], {"coding": [7]}]
)


def concept(*codings: tuple[str | None, str | None]) -> dict[str, Any]:
    named = [{"system": system, "code": code} for system, code in codings]
    return {
        "coding": [
            {name: text for name, text in coding.items() if text is not None} for coding in named
        ]
    }


def condition(*codings: tuple[str | None, str | None], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "code": concept(*codings),
        **ABOUT,
        "onsetDateTime": "2011-02-03",
        **more,
    }


def observation(code: tuple[str, str] = (LOINC, "4548-4"), **more: Any) -> dict[str, Any]:
    value = (
        {} if any(key.startswith(("value", "component")) for key in more) else {"valueInteger": 7}
    )
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": concept(code),
        **ABOUT,
        **value,
        **more,
    }


def order(*codings: tuple[str, str], **more: Any) -> dict[str, Any]:
    drug = {} if not codings else {"medicationCodeableConcept": concept(*codings)}
    stated = {"resourceType": "MedicationRequest", "status": "active", "intent": "order"}
    return {**stated, **drug, **ABOUT, "authoredOn": "2012-03-04T05:06:07+02:00", **more}


def procedure(code: tuple[str, str] = (PCS, "0HBT0ZZ"), **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Procedure",
        "status": "completed",
        "code": concept(code),
        **ABOUT,
        **more,
    }


def bundle(*resources: dict[str, Any], kind: str = "collection", **more: Any) -> bytes:
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1960-05-17"}
    entries = [{"resource": resource} for resource in (patient, *resources)]
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries, **more}).encode()


def mutated(document: Any, data: st.DataObject) -> Any:
    """The document with one to three parts replaced by values of another shape."""
    places: list[tuple[Any, Any]] = []
    stack = [document]
    while stack:
        value = stack.pop()
        keys = (
            list(value)
            if isinstance(value, dict)
            else range(len(value))
            if isinstance(value, list)
            else []
        )
        places += [(value, key) for key in keys]
        stack += [value[key] for key in keys]
    for _ in range(data.draw(st.integers(1, 3))):
        parent, key = data.draw(st.sampled_from(places))
        parent[key] = data.draw(_JUNK)
    return document


HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e300,
    "",
    " ",
    "<script>zq</script>",
    "NaN",
    "http://zq.example/x",
    "../zq",
    "\u202e",
    [],
    {},
    [[]],
    [None],
    {"x": {}},
    {"reference": "Patient/zq"},
    {"coding": [7]},
    {"system": 7, "code": []},
    "2019-02-30",
    "9" * 40,
    {"coding": [{"system": "urn:zq", "code": "zq"}]},
    {"value": "7", "system": UCUM, "code": "mg"},
    ["x"] * 1000,
)


def mutant(seed: int, original: bytes) -> bytes:
    """A bundle with one to three faults in its structure or bytes; deterministic by seed."""
    rng = random.Random(seed)
    if rng.random() < 0.25:
        exported = bytearray(original)
        for _ in range(rng.randint(1, 3)):
            position = rng.randrange(len(exported))
            exported[position : position + rng.choice((0, 1, 1, 40))] = rng.randbytes(
                rng.choice((0, 1, 1, 8))
            )
        return bytes(exported[: rng.randrange(len(exported))] if rng.random() < 0.3 else exported)
    document = json.loads(original)
    for _ in range(rng.randint(1, 3)):
        _tamper(document, rng)
    return json.dumps(document).encode()


def _tamper(document: dict[str, Any], rng: random.Random) -> None:
    """Remove, replace or duplicate something anywhere, or add an unexpected neighbour."""
    parent: Any = (
        document["entry"]
        if isinstance(document.get("entry"), list) and document["entry"]
        else document
    )
    key: Any = rng.choice(_keys(parent))
    while _keys(parent[key]) and rng.random() < 0.85:
        parent, key = parent[key], rng.choice(_keys(parent[key]))
    match rng.randrange(5):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent.append(parent[key])
        case 2 if isinstance(parent, dict):
            parent[rng.choice(("zq", "modifierExtension", "resourceType", "id", "contained"))] = (
                rng.choice(HOSTILE)
            )
        case _:
            parent[key] = rng.choice(HOSTILE)


def _keys(value: Any) -> list[Any]:
    return (
        list(value)
        if isinstance(value, dict)
        else list(range(len(value)))
        if isinstance(value, list)
        else []
    )


ABOUT_ZQ = {"subject": {"reference": "Patient/zq"}}
R5_MEDICATION = {
    "resourceType": "MedicationRequest",
    "status": "active",
    "intent": "order",
    **ABOUT,
    "medication": {"concept": concept((RXNORM, "36437"))},
}
SCRIPT = {
    "text": {
        "status": "generated",
        "div": "<div xmlns='http://www.w3.org/1999/xhtml'><script>zq()</script></div>",
    }
}
EXTENSION = {"url": "http://zq.example", "valueString": "x"}
NUMBER = {"value": 5, "system": UCUM, "code": "%"}


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"url": "zq", "valueString": "zq"}
    for _ in range(levels):
        inner = {"url": "zq", "extension": [inner]}
    return inner


def numbered(text: str) -> bytes:
    return bundle(observation(valueQuantity=NUMBER)).replace(
        b'"value": 5', f'"value": {text}'.encode()
    )


def entries(listed: list[Any]) -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": listed}).encode()


def bundle_with(entry: Any) -> bytes:
    exported = json.loads(bundle(observation()))
    exported["entry"].append(entry)
    return json.dumps(exported).encode()


def noted(text: bytes) -> bytes:
    """A bundle with this JSON text in a note."""
    return bundle(condition((CM, "C50.911"), note=[{"text": "zq"}])).replace(
        b'"zq"', b'"' + text + b'"'
    )


def asked(method: object, kind: str = "transaction") -> bytes:
    """A bundle in which one entry's request has this method."""
    exported = json.loads(bundle(observation(), observation(), kind=kind))
    for entry in exported["entry"]:
        entry["request"] = {"method": "POST", "url": "zq"}
    exported["entry"][2]["request"]["method"] = method
    return json.dumps(exported).encode()


def searched(total: object, *modes: str) -> bytes:
    """A bundle as a server's answer to a search, with the mode of each entry."""
    exported = json.loads(
        bundle(*[observation()] * (len(modes) - 1), kind="searchset", total=total)
    )
    for entry, mode in zip(exported["entry"], modes, strict=True):
        entry["search"] = {"mode": mode}
    return json.dumps(exported).encode()


def malformed(good: bytes) -> dict[str, tuple[bytes, str | None]]:
    """Bundles by their fault, with the text of the refusal, or the report of what is held back if
    only one resource is wrong; None: the bundle may also be accepted."""
    DEEP, MANY, JSON, R4 = (
        "nested deeper",
        "more values than",
        "not well-formed|not UTF-8",
        "not valid FHIR R4|not a type of FHIR R4",
    )
    return {
        "empty": (b"", JSON),
        "text": (b"zq", JSON),
        "NUL": (good[:900] + b"\0" + good[900:], JSON),
        "BOM": (b"\xef\xbb\xbf" + good, None),
        "BOM twice": (2 * b"\xef\xbb\xbf" + good, JSON),
        "UTF-16": (good.decode().encode("utf-16"), JSON),
        "UTF-32": (good.decode().encode("utf-32-le"), JSON),
        "Latin-1": (bundle(zq="é").replace(b"\\u00e9", b"\xe9"), JSON),
        "CRLF": (json.dumps(json.loads(good), indent=1).replace("\n", "\r\n").encode(), None),
        "cut": (good[:-7], JSON),
        "half": (good[: len(good) // 2], JSON),
        "two documents": (good + good, JSON),
        "gzip": (gzip.compress(good), JSON),
        "XML": (b"<Bundle xmlns='http://hl7.org/fhir'/>", JSON),
        "NaN": (numbered("NaN"), "not JSON"),
        "Infinity": (numbered("-Infinity"), "not JSON"),
        "a huge exponent": (numbered("1e999999999"), "out of range"),
        "a huge number": (numbered("9" * 5000), "too long"),
        "a long number": (numbered("0." + "3" * 5000), "too long"),
        "a hex number": (numbered("0x10"), JSON),
        "a number of 10^6 digits": (numbered("9" * 1_000_000), "too long"),
        "a number as text": (numbered('"zq"'), R4),
        "NaN around": (bundle(zq=5).replace(b": 5", b": NaN"), "not JSON"),
        "Infinity 3,000 times": (
            bundle(*[observation()] * 3_000).replace(b": 7", b": -Infinity"),
            "not JSON",
        ),
        "95,000 keys that are one": (
            bundle({"resourceType": "Basic", "x": 5}).replace(
                b'"x": 5', b",".join([b'"zq":[]'] * 95_000)
            ),
            "same key twice",
        ),
        "95,000 keys twice beside 5 MB": (
            bundle({"resourceType": "Basic", "x": 5}, zq="x" * 5_000_000).replace(
                b'"x": 5', b",".join(b'"%d":1' % (n // 2) for n in range(190_000))
            ),
            "same key twice",
        ),
        "keys twice at every depth": (
            bundle({"resourceType": "Basic", "x": 5}).replace(
                b'"x": 5', b'"zq":{},"zq":{' * 120 + b'"a":1' + b"}" * 120
            ),
            "same key twice|nested",
        ),
        "an id 3,000 times": (
            bundle(*[observation(id="zq", valueInteger=n) for n in range(3_000)]),
            "the same id",
        ),
        "duplicate key": (
            bundle().replace(b'"type":', b'"type": "collection", "type":'),
            "same key twice",
        ),
        "half a character": (
            bundle(zq="x").replace(b'"zq": "x"', b'"language": "\\ud800"'),
            "half a character",
        ),
        "deep lists": (b"[" * 100_000 + b"]" * 100_000, DEEP),
        "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, DEEP),
        "unclosed": (b"[" * 190_000, DEEP),
        "deep extensions": (bundle(observation(extension=[nested(400)])), DEEP),
        "extensions": (bundle(observation(extension=[nested(8)])), None),
        "deep contained": (
            bundle(observation(contained=[observation(contained=[observation()])])),
            None,
        ),
        "a long string": (
            bundle(condition((CM, "C50.911"), note=[{"text": "zq" * 5_000_000}])),
            None,
        ),
        "escapes": (noted(rb"\nxy" * 1_950_000), None),
        "escaped letters": (noted(rb"\u00e9" * 1_300_000), None),
        "escapes alone": (rb"\nxy" * 1_950_000, JSON),
        "a long key": (bundle(**{"zq" * 1_000_000: 1}), None),
        "a list": (b"[]", "not a FHIR Bundle"),
        "a resource alone": (json.dumps(observation()).encode(), "not a FHIR Bundle"),
        "a million empty lists": (bundle(zq=[[]] * 1_000_000), MANY),
        "a million short numbers": (bundle(zq=[0.5] * 1_000_000), None),
        "200,000 short numbers": (bundle(zq=[0.5] * 199_000), None),
        "a million empty entries": (entries([{}] * 1_000_000), MANY),
        "100,001 entries": (entries(["zq"] * 100_001), "more entries than"),
        "90,000 empty entries": (entries([{}] * 90_000), "no Patient"),
        "20,000 empty entries": (entries([{}] * 20_000), "no Patient"),
        "9 MB of spaces": (good[:-1] + b" " * 9_000_000 + b"}", None),
        "4 MB in wide letters": (bundle(zq="x" * 4_000_000 + "\U0001f600"), None),
        "2,500 extensions": (
            bundle(observation(extension=[EXTENSION] * 2_500)),
            "more values than a statement",
        ),
        "36,000 extensions": (bundle(*[observation(extension=[EXTENSION] * 1_200)] * 30), None),
        "one reason 45,000 times": (
            bundle(
                condition(*[(CM, "C50.911")] * 1_000, id="c"),
                *[order((ATC, "L01EX02"), reasonReference=[{"reference": "Condition/c"}] * 1_000)]
                * 45,
            ),
            None,
        ),
        "64 codes 2,000 times": (
            bundle(
                {
                    "resourceType": "Medication",
                    "id": "m",
                    "code": concept(*[(ATC, "L01EX02")] * 64),
                },
                *[order(medicationReference={"reference": "Medication/m"})] * 2_000,
            ),
            None,
        ),
        "no entries": (bundle().replace(b'"entry"', b'"zq"'), "no entries under their name"),
        "one page": (
            bundle(link=[{"relation": "next", "url": "http://zq.example/2"}]),
            "one page of several",
        ),
        "the last page": (
            bundle(link=[{"relation": "previous", "url": "http://zq.example/1"}]),
            "one page of several",
        ),
        "2 of 500": (bundle(observation(), kind="searchset", total=500), "its total"),
        "2 of 4, one included": (searched(4, "match", "match", "include"), "its total"),
        "total in words": (bundle(total="zq"), None),
        "total as true": (bundle(total=True), None),
        "a deletion": (asked("DELETE"), None),
        "a patch": (asked("PATCH"), "PATCH"),
        "a question": (asked("GET", "collection"), None),
        "a list as method": (asked(["zq"]), None),
        "no method": (asked(None), None),
        "a request in words": (
            bundle_with({"request": "zq", "resource": {"resourceType": "Basic"}}),
            None,
        ),
        "a history": (bundle(kind="history"), "type is not"),
        "R5 type": (bundle(kind="subscription-notification"), "type"),
        "R5 medication": (bundle(R5_MEDICATION), R4),
        "R5 resource": (bundle({"resourceType": "Transport"}), R4),
        "R5 encounter": (bundle({"resourceType": "Encounter", "status": "zq"}), None),
        "R3 bundle": (bundle({"resourceType": "ProcedureRequest"}), R4),
        "no type": (bundle_with({"resource": {}}), R4),
        "an entry as text": (bundle_with("zq"), "has no resource"),
        "an entry as null": (bundle_with(None), "has no resource"),
        "two patients": (bundle({"resourceType": "Patient", "id": "zq"}), "more than one patient"),
        "no patient": (bundle().replace(b'"Patient"', b'"Basic"'), "no Patient"),
        "somebody else": (bundle({**observation(), **ABOUT_ZQ}), "another subject"),
        "somebody else elsewhere": (
            bundle({**observation(), "subject": {"reference": "http://zq.example/Patient/p"}}),
            "at an address",
        ),
        "a resource twice": (bundle(observation(id="zq"), observation(id="zq")), "a copy"),
        "an id twice": (
            bundle(observation(id="zq"), observation(id="zq", valueInteger=8)),
            "same id",
        ),
        "about a device": (
            bundle({**observation(), "subject": {"reference": "Device/zq"}}),
            "something else than a patient: Observation.subject",
        ),
        "deep and not taken": (
            bundle({"resourceType": "Basic", "extension": [nested(50)]}),
            "nested deeper than 32: Basic.extension",
        ),
        "a huge number that is not taken": (
            bundle(
                {"resourceType": "Basic", "extension": [{"url": "zq", "valueDecimal": 5.25}]}
            ).replace(b"5.25", b"1e400"),
            "out of range: Basic.extension",
        ),
        "150,000 empty lists in one": (
            bundle({"resourceType": "Basic", "zq": [[]] * 150_000}),
            None,
        ),
        "script in narrative": (bundle(observation(**SCRIPT)), None),
        "script in a patient": (
            bundle_with({"resource": {"resourceType": "Basic", **SCRIPT}}),
            None,
        ),
        "script in a code": (bundle(observation((LOINC, "<script>zq()</script>"))), None),
        "a foreign attachment": (
            bundle(
                {
                    "resourceType": "DocumentReference",
                    "content": [{"attachment": {"url": "http://zq.example/x"}}],
                }
            ),
            None,
        ),
        "a foreign profile": (
            bundle(observation(meta={"profile": ["http://zq.example/StructureDefinition/x"]})),
            None,
        ),
        "a loop of references": (
            bundle(observation(id="a", focus=[{"reference": "Observation/a"}])),
            None,
        ),
        "contained loop": (
            bundle(
                observation(
                    contained=[
                        {
                            "resourceType": "Observation",
                            "id": "z",
                            "hasMember": [{"reference": "#z"}],
                            "status": "final",
                            "code": {"text": "zq"},
                        }
                    ]
                )
            ),
            None,
        ),
        "unknown systems": (
            bundle(condition(("urn:zq", "zq")), observation(("http://zq.example", "1"))),
            None,
        ),
        "no system": (bundle(condition((None, "zq"))), None),
        "no code": (bundle(condition()), None),
        "wrong status": (bundle(observation(status="zq")), "status"),
        "impossible date": (bundle(condition((CM, "C50.911"), onsetDateTime="2019-02-30")), R4),
        "year 0": (bundle(condition((CM, "C50.911"), onsetDateTime="0000-01-01")), R4),
        "two values": (bundle(observation(valueInteger=1, valueBoolean=True)), R4),
        "an unknown element": (bundle(observation(zq=1)), R4),
        "a number as code": (bundle({**observation(), "code": 7}), R4),
        "many codings": (bundle(condition(*[(CM, "C50.911")] * 20_000)), None),
        "many components": (
            bundle(
                observation(
                    component=[{"code": concept((LOINC, "8480-6")), "valueQuantity": NUMBER}]
                    * 5_000
                )
            ),
            None,
        ),
    }
