"""Signatures of models: what model-signing writes is taken, and nothing else is."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fleetfit_runtime.store.signature_bundle import MOST_BUNDLE_BYTES, SignatureProblem
from fleetfit_runtime.store.signatures import verify
from fleetfit_runtime.store.signed_files import ModelDigests
from fleetfit_runtime.store.trusted_keys import KeyRing, TrustedKeys
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.signing import PrivateKey, bundle, p256, signed, statement, trust

SIGNED = Path(__file__).parent / "signed"
GRAPH, DATA, OTHER = "a" * 64, "b" * 64, "c" * 64
KEY = p256()
RING = KeyRing([KEY.public_key()])
FILES = {"m/graph.onnx": GRAPH, "m/part/w.data": DATA, "w.data": OTHER}
MODEL = ModelDigests(GRAPH, (("part/w.data", DATA),))


def digest_of(name: str) -> str:
    return hashlib.sha256((SIGNED / "model" / name).read_bytes()).hexdigest()


def problem_of(content: bytes, model: ModelDigests = MODEL, keys: KeyRing = RING) -> str:
    with pytest.raises(SignatureProblem) as caught:
        verify(content, keys, model)
    return str(caught.value)


@pytest.mark.parametrize(
    ("signature", "model"),
    [
        (
            "directory.sig",
            ModelDigests(digest_of("double.onnx"), (("part/weights.data", digest_of("part/weights.data")),)),
        ),
        ("directory.sig", ModelDigests(digest_of("triple.onnx"))),
        ("file.sig", ModelDigests(digest_of("triple.onnx"))),
    ],
)
def test_what_model_signing_has_signed_is_good(signature: str, model: ModelDigests) -> None:
    keys = TrustedKeys([SIGNED]).read()
    assert len(keys) == 2
    verify((SIGNED / signature).read_bytes(), keys, model)
    changed = ModelDigests(model.graph, tuple((name, OTHER) for name, _ in model.data) or (("x", OTHER),))
    assert "is not of" in problem_of((SIGNED / signature).read_bytes(), changed, keys)
    assert "none of the 1 keys" in problem_of((SIGNED / signature).read_bytes(), model)


@pytest.mark.parametrize(
    "key",
    [
        p256(),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        Ed25519PrivateKey.generate(),
    ],
    ids=["P-256", "P-384", "P-521", "Ed25519"],
)
def test_keys_of_every_kind_are_found_among_others(key: PrivateKey, tmp_path: Path) -> None:
    keys = TrustedKeys([trust(tmp_path / "a", p256()), trust(tmp_path / "b", p256(), key)]).read()
    verify(signed(key, FILES), keys, MODEL)


def test_one_good_signature_among_several_is_enough_and_hints_do_not_matter() -> None:
    document = bundle(KEY, json.dumps(statement(FILES)).encode())
    document["dsseEnvelope"]["signatures"].insert(
        0, {"sig": base64.urlsafe_b64encode(b"\xff\xfenone").decode()}
    )
    verify(json.dumps(document).encode(), RING, MODEL)


def test_a_key_that_is_withdrawn_or_added_counts_at_once(tmp_path: Path) -> None:
    trusted = TrustedKeys([trust(tmp_path / "keys", KEY), tmp_path / "to come"])
    verify(signed(KEY, FILES), trusted.read(), MODEL)
    for path in (tmp_path / "keys").iterdir():
        path.unlink()
    assert len(trusted.read()) == 0
    trust(tmp_path / "to come", KEY)
    assert len(trusted.read()) == 1


def test_what_is_no_key_does_not_count(tmp_path: Path) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    odd = ec.generate_private_key(ec.SECP256K1()).public_key()
    for name, key in (("rsa", weak), ("odd", odd)):
        (tmp_path / name).write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "noise").write_bytes(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    assert len(TrustedKeys([tmp_path]).read()) == 0
    trust(tmp_path, KEY)
    assert len(TrustedKeys([tmp_path]).read()) == 1


def without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(key)


def envelope(**over: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["dsseEnvelope"].update(over)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("mediaType"), "is no sigstore bundle"),
        (without("dsseEnvelope"), "holds no DSSE envelope"),
        (envelope(payloadType="application/json"), "signs something else"),
        (envelope(payload="*"), "not base64"),
        (envelope(payload=None), "not base64"),
        (envelope(payload=base64.b64encode(b"{}").decode()), "is by none of the 1 keys"),
        (envelope(signatures=[]), "must hold 1 to 16 signatures"),
        (envelope(signatures=[{"sig": ""}] * 17), "must hold 1 to 16 signatures"),
        (envelope(signatures=["x"]), "is not formed like"),
        (envelope(signatures=[{}]), "not base64"),
        (envelope(signatures=[{"sig": ""}]), "is by none of the 1 keys"),
    ],
)
def test_bundles_of_another_form_are_refused(change: Callable[[dict[str, Any]], None], sentence: str) -> None:
    document = bundle(KEY, json.dumps(statement(FILES)).encode())
    change(document)
    assert sentence in problem_of(json.dumps(document).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null", b'"x"', b"[" * 5000, b"\xff\xfe", b"{}"])
def test_no_bundle_at_all_is_refused(content: bytes) -> None:
    assert problem_of(content)


def test_a_huge_bundle_is_not_even_read() -> None:
    assert "is larger than" in problem_of(signed(KEY, FILES) + b" " * MOST_BUNDLE_BYTES)


def test_a_signature_for_another_type_of_payload_does_not_count() -> None:
    document = bundle(KEY, json.dumps(statement(FILES)).encode(), "application/vnd.else+json")
    document["dsseEnvelope"]["payloadType"] = "application/vnd.in-toto+json"
    assert "is by none of" in problem_of(json.dumps(document).encode())


RESOURCE = {"name": "m/graph.onnx", "algorithm": "sha256", "digest": GRAPH}
MADE = {"method": "files", "hash_type": "sha256"}


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "holds no statement of the type"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "holds no statement of the type"),
        ({"subject": []}, "not formed like one of model-signing"),
        ({"subject": [{"name": "m", "digest": {"sha256": OTHER}}]}, "does not fit the digest over them"),
        ({"predicate": {}}, "not formed like"),
        ({"predicate": []}, "not formed like"),
        ({"predicate": {"serialization": {**MADE, "method": "shards"}, "resources": []}}, "parts of files"),
        (
            {"predicate": {"serialization": {**MADE, "hash_type": "blake3"}, "resources": []}},
            "by another hash",
        ),
        (
            {"predicate": {"serialization": MADE, "resources": [{**RESOURCE, "digest": "ab"}]}},
            "not formed like",
        ),
        ({"predicate": {"serialization": MADE, "resources": [{**RESOURCE, "digest": 5}]}}, "not formed like"),
        ({"predicate": {"serialization": MADE, "resources": [{**RESOURCE, "name": 5}]}}, "not formed like"),
        (
            {"predicate": {"serialization": MADE, "resources": [RESOURCE, RESOURCE]}},
            "does not fit the digest",
        ),
    ],
)
def test_statements_of_another_form_are_refused_although_they_are_signed(
    over: dict[str, Any], sentence: str
) -> None:
    assert sentence in problem_of(signed(KEY, FILES, **over))


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (ModelDigests(OTHER[:-1] + "d"), "is of other files: none of its 3 has the digest"),
        (ModelDigests(GRAPH, (("part/w.data", OTHER),)), "is not of part/w.data beside the graph"),
        (ModelDigests(GRAPH, (("w.data", OTHER),)), "is not of w.data beside the graph"),
        (ModelDigests(GRAPH, (("../w.data", OTHER),)), "is not of ../w.data beside the graph"),
    ],
)
def test_files_that_were_not_signed_in_this_place_are_refused(model: ModelDigests, sentence: str) -> None:
    assert sentence in problem_of(signed(KEY, FILES), model)


GOOD = signed(KEY, FILES)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(GOOD)),
)
def test_a_damaged_bundle_is_refused_or_proves_the_same(edits: list[tuple[int, int]], length: int) -> None:
    content = bytearray(GOOD)
    for position, value in edits:
        content[position] = value
    for damaged in (bytes(content), bytes(content[:length])):
        with contextlib.suppress(SignatureProblem):
            verify(damaged, RING, MODEL)
            payload = json.loads(damaged)["dsseEnvelope"]["payload"]
            assert json.loads(base64.b64decode(payload)) == statement(FILES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
FIELDS = ("_type", "subject", "predicateType", "predicate")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1), JSON, st.lists(JSON, max_size=2))
def test_statements_of_any_form_by_a_trusted_key_never_pass_by_accident(
    over: dict[str, Any], whole: Any, resources: list[Any]
) -> None:
    made = {"predicate": {"serialization": MADE, "resources": resources}}
    for payload in (statement(FILES, **over), whole, statement(FILES, **made)):
        content = json.dumps(bundle(KEY, json.dumps(payload).encode())).encode()
        if payload != statement(FILES):
            assert problem_of(content)
