"""`fleetfit suite build`: a `ModelSuite` from ONNX files, or an existing one brought up to date."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fleetfit_cli.command_words import add_shape_argument, as_argument, parsed_shapes
from fleetfit_cli.console import note, write
from fleetfit_cli.errors import FailedError, WrongUseError

DESCRIPTION: Final = """\
Write a ModelSuite manifest from the ONNX files of one model, or with --from refresh an existing one: digests, sizes and
cost features are read from the files, the precision is detected from the weights. The accuracy is yours to measure.
"""
EXAMPLES: Final = """\
  fleetfit suite build digits --storage-uri http://models.example/digits cnn-fp32.onnx:0.99 cnn-int8.onnx:0.98
  fleetfit suite build digits small=a.onnx --accuracy small=0.98 --output suite.yaml
  fleetfit suite build --from suite.yaml --output suite.yaml    after the files have changed
"""
_TEXTS: Final = ("description", "metric", "dataset")

if TYPE_CHECKING:
    from fleetfit_cli.suites.figures import GivenFigures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which words the command takes."""
    from fleetfit_cli.suites.variant_words import VariantWord, parse_named_accuracy, parse_named_precision

    parser.add_argument("name", nargs="?", metavar="NAME", help="name of the suite")
    parser.add_argument(
        "variants",
        nargs="*",
        type=as_argument(VariantWord.parse),
        metavar="[VARIANT=]FILE[:ACCURACY]",
        help="ONNX file; the variant is called like the file unless named",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="refresh this manifest: what is not read from the files stays as it is",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write there instead of to standard output"
    )
    parser.add_argument("--namespace", default="", help="namespace of the suite")
    parser.add_argument(
        "--storage-uri",
        default="",
        metavar="URI",
        help="where nodes fetch the files: http, https, s3, gs, azure, oci, pvc or file "
        "(default: the very files, by file URIs)",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="directory that the storage URI serves (default: each file's own, with --from that of the manifest)",
    )
    parser.add_argument("--description", default="", help="what the model does")
    parser.add_argument("--metric", default="", help="name of the quality metric (default: accuracy)")
    parser.add_argument("--dataset", default="", help="held-out data that the quality was measured on")
    parser.add_argument(
        "--accuracy",
        action="append",
        default=[],
        type=as_argument(parse_named_accuracy),
        metavar="VARIANT=FRACTION",
        help="quality of a variant, 0 to 1; instead of :ACCURACY",
    )
    parser.add_argument(
        "--precision",
        action="append",
        default=[],
        type=as_argument(parse_named_precision),
        metavar="VARIANT=PRECISION",
        help="fp32, fp16, bf16, int8 or int4, where the weights do not tell",
    )
    add_shape_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the manifest."""
    text = _built(arguments) if arguments.source is None else _refreshed(arguments)
    if arguments.output is None:
        write(text)
        return
    try:
        arguments.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FailedError(f"{arguments.output} cannot be written: {error.strerror}") from error
    note(f"wrote {arguments.output}")


def _built(arguments: argparse.Namespace) -> str:
    from fleetfit_cli.suites.manifest import manifest_text, suite_document
    from fleetfit_cli.suites.new_suite import SuiteWords, new_suite

    if not arguments.name or not arguments.variants:
        raise WrongUseError(
            "suite build: give the suite's name and its ONNX files, as in "
            "`fleetfit suite build digits cnn-int8.onnx:0.98`, or --from FILE"
        )
    suite = SuiteWords(
        name=arguments.name,
        namespace=arguments.namespace,
        storage_uri=arguments.storage_uri,
        root=arguments.root,
        texts={key: getattr(arguments, key) for key in _TEXTS},
    )
    given = _given(arguments)
    document = suite_document(new_suite(suite, arguments.variants, given, given.read))
    if not arguments.storage_uri:
        note("without --storage-uri every node must have the files where this machine has them")
    _tell_size(document)
    return manifest_text(document)


def _refreshed(arguments: argparse.Namespace) -> str:
    from fleetfit_cli.suites.manifest import checked_suite, leading_comment, manifest_text, read_document
    from fleetfit_cli.suites.refresh import refreshed

    if arguments.name or arguments.variants:
        raise WrongUseError(
            "suite build: with --from the suite's name and its variants are those of the manifest"
        )
    given = _given(arguments)
    document = read_document(arguments.source)
    new = refreshed(document, arguments.root or arguments.source.parent, given, given.read)
    new["spec"] |= {key: getattr(arguments, key) for key in _TEXTS if getattr(arguments, key)}
    if arguments.storage_uri:
        new["spec"]["storageUri"] = arguments.storage_uri
    if arguments.namespace:
        new["metadata"]["namespace"] = arguments.namespace
    checked_suite(new)
    _tell_size(new)
    return leading_comment(arguments.source) + manifest_text(new)


def _given(arguments: argparse.Namespace) -> "GivenFigures":
    from fleetfit_cli.suites.figures import GivenFigures

    return GivenFigures(dict(arguments.accuracy), dict(arguments.precision), parsed_shapes(arguments.shape))


def _tell_size(document: dict[str, Any]) -> None:
    from fleetfit_cli.suites.manifest import is_too_large_to_apply

    if is_too_large_to_apply(document):
        note("the manifest is large: apply it with `kubectl apply --server-side`")
