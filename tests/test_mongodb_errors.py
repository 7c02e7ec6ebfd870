"""What each of PyMongo's errors becomes, and which of them are worth another attempt."""

from __future__ import annotations

import msgspec
import pytest
from bson.errors import InvalidDocument
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    CursorNotFound,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidOperation,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from skyhooks import StoreCorrupt, StoreUnavailable
from skyhooks.backends.mongodb.errors import is_duplicate, may_pass, translate

LABELLED = {"errorLabels": ["RetryableWriteError"]}


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (msgspec.ValidationError("Expected `str`"), StoreCorrupt, "that skyhooks did not write (Expected `str`)"),
        (OperationFailure("not authorized on x", 13), StoreUnavailable, "give it readWrite on that database"),
        (OperationFailure("Authentication failed.", 18), StoreUnavailable, "give it readWrite on that database"),
        (OperationFailure("BSONObj size is invalid", 10334), StoreUnavailable, "lower keep_bytes or dedupe_ids"),
        (OperationFailure("what\nis this, full error: {}", 99), StoreUnavailable, "refused an operation (what)"),
        (ConfigurationError("no DNS"), StoreUnavailable, "cannot be opened: no DNS"),
        (FileNotFoundError(2, "No such file", "a.pem"), StoreUnavailable, "cannot be opened"),
        (InvalidOperation("Cannot use MongoClient after close"), StoreUnavailable, "was closed meanwhile"),
        (ServerSelectionTimeoutError("db: refused, Timeout: 2s"), StoreUnavailable, "2.5 s (db: refused); try again"),
        (ExecutionTimeout("operation exceeded", 50), StoreUnavailable, "did not answer within 2.5 s"),
        (WTimeoutError("waiting for replication", 64), StoreUnavailable, "did not answer within 2.5 s"),
        (OperationFailure("x" * 1000), StoreUnavailable, "x…)"),
    ],
)
def test_mgo_each_error_says_what_to_do(error, raised, text):
    problem = translate(error, "mongodb://db/x")
    assert type(problem) is raised
    assert str(problem).startswith("mongodb://db/x ")
    assert text in str(problem)
    assert len(str(problem)) < 400


def test_a_mistake_of_ours_is_shown_as_it_is():
    assert translate(InvalidDocument("cannot encode"), "x") is None


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (AutoReconnect("reset"), True),
        (NotPrimaryError("stepped down"), True),
        (CursorNotFound("gone", 43), True),
        (WriteConcernError("shutting down", 91, LABELLED), True),
        (WriteConcernError("no such mode", 79), False),
        (DuplicateKeyError("E11000", 11000), False),
        (OperationFailure("not authorized", 13), False),
    ],
)
def test_mgo_what_may_pass_is_tried_again(error, passes):
    assert may_pass(error) == passes


@pytest.mark.parametrize(
    ("details", "duplicate"),
    [
        ({"writeErrors": [{"code": 11000}, {"code": 11000}]}, True),
        ({"writeErrors": [{"code": 11000}, {"code": 8}]}, False),
        ({"writeErrors": [{"code": 11000}], "writeConcernErrors": [{"code": 64}]}, False),
        ({"writeErrors": []}, False),
    ],
)
def test_mgo_a_bulk_write_failed_by_duplicates_only_if_a_majority_has_the_rest(details, duplicate):
    assert is_duplicate(BulkWriteError(details)) == duplicate
