"""Suites that the API server takes and suites that it refuses: the command line has to agree with it."""

from typing import Any

URI = "http://models.example/digits"
GOOD: list[dict[str, str | None]] = [
    {},
    {"storage_uri": "https://models.example:8443"},
    {"storage_uri": "file:///models"},
    {"storage_uri": "file://localhost/models"},
    {"storage_uri": None, "uri": "http://models.example/a.onnx"},
    {"storage_uri": None, "uri": "file:///models/a.onnx"},
    {"uri": "https://elsewhere.example/a@2/b.onnx"},
    {"uri": "deep/a..v2.onnx"},
    {"uri": "the%20files/a%23b.onnx"},
    {"storage_uri": "s3://models/digits"},
    {"storage_uri": "oci://registry.example:5000/models/digits:v1"},
    {"uri": "gs://models/a.onnx"},
    {"uri": "azure://models/a.onnx"},
    {"uri": "oci://registry.example/models/digits@sha256:" + "ab" * 32 + "/a.onnx"},
    {"uri": "pvc://models/a.onnx"},
    {"name": "a.b-c.d"},
]
BAD: list[tuple[dict[str, str | None], str]] = [
    ({"storage_uri": "ftp://models"}, "spec.storageUri must begin with http://, https://, s3://"),
    ({"storage_uri": "models"}, "spec.storageUri must begin with http://, https://, s3://"),
    ({"storage_uri": "s3:///models"}, "needs a bucket, container, registry or claim"),
    ({"storage_uri": "s3://key:word@models"}, "credentials in a uri are not supported"),
    ({"storage_uri": "http:///models"}, "needs a host, as in https://models.example/digits.onnx"),
    ({"storage_uri": "http://:80/models"}, "needs a host, as in https://models.example/digits.onnx"),
    ({"storage_uri": "file://models"}, "needs three slashes and an absolute path"),
    ({"storage_uri": "https://me:secret@models.example"}, "credentials in a uri are not supported"),
    ({"storage_uri": None}, "relative"),
    ({"uri": "ftp://models/a.onnx"}, "or be relative to spec.storageUri"),
    ({"uri": "oci:///models"}, "needs a bucket, container, registry or claim"),
    ({"uri": "http:a.onnx"}, "needs a host"),
    ({"uri": "file:a.onnx"}, "needs three slashes"),
    ({"uri": "http://me@models.example/a.onnx"}, "credentials in a uri are not supported"),
    ({"uri": "../a.onnx"}, "must not contain '..' as a part of its path"),
    ({"uri": "deep/%2e%2E/a.onnx"}, "must not contain '..' as a part of its path"),
]


def suite_with(
    *, storage_uri: str | None = URI, uri: str = "a.onnx", name: str = "good-suite"
) -> dict[str, Any]:
    variant = {
        "name": "a", "uri": uri, "sha256": "ab" * 32, "sizeBytes": 1, "precision": "fp32", "accuracy": 0.5,
    }  # fmt: skip
    spec: dict[str, Any] = {"variants": [variant]}
    if storage_uri is not None:
        spec["storageUri"] = storage_uri
    return {
        "apiVersion": "fleetfit.io/v1alpha1",
        "kind": "ModelSuite",
        "metadata": {"name": name},
        "spec": spec,
    }
