"""What a job makes of an answer: the table of RELIABILITY section 1 (SND), PROTOCOL 19 and 20, and the pauses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyhooks._policy import (
    BACKOFF_CAP_SECONDS,
    Kind,
    Verdict,
    backoff_seconds,
    heartbeat_delay,
    judge,
)
from skyhooks._values import Answer, Fault
from skyhooks._wire import encode_answer, problem

NOW = 784111777.0
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


def verdict(answer, *, attempt=1, count=1):
    return judge(answer, attempt=attempt, count=count, instance_id="me", now=NOW)


def kinds(answer, attempts=4):
    return [verdict(answer, attempt=attempt).kind for attempt in range(1, attempts + 1)]


def test_snd_our_answer_is_read():
    taken = verdict(Answer(200, encode_answer([2, 0], [1], [])), count=2)
    assert taken.kind is Kind.TAKEN
    assert taken.taken is not None
    assert list(taken.taken.callbacks) == [2, 0]
    assert set(taken.taken.duplicates) == {1}


@pytest.mark.parametrize("answer", [Answer(204), Answer(200, b"<html>"), Answer(200, encode_answer([1, 1], [], []))])
def test_snd_any_other_success_is_taken_without_a_count(answer):
    assert verdict(answer) == Verdict(Kind.TAKEN)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_snd_redirects_are_refused(status):
    refused = verdict(Answer(status))
    assert refused.kind is Kind.REFUSED
    assert "final URL" in refused.error


@pytest.mark.parametrize("status", [400, 402, 405, 406, 411, 413, 415, 422, 431, 451, 600, 999])
def test_snd_faults_of_configuration_are_refused_at_once(status):
    assert verdict(Answer(status)) == Verdict(Kind.REFUSED, error=f"answered {status}")


@pytest.mark.parametrize("status", [404, 408, 425, 429, 500, 502, 503, 504, 599])
def test_snd_passing_trouble_is_tried_three_times(status):
    assert kinds(Answer(status)) == [Kind.RETRY, Kind.RETRY, Kind.GIVE_UP, Kind.GIVE_UP]


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.RESET, Fault.TIMEOUT, Fault.DNS, Fault.PROTOCOL])
def test_snd_trouble_on_the_network_is_tried_three_times(fault):
    assert kinds(Answer(fault=fault)) == [Kind.RETRY, Kind.RETRY, Kind.GIVE_UP, Kind.GIVE_UP]
    assert verdict(Answer(fault=fault)).error == fault.value
    assert verdict(Answer(fault=fault, error="why")).error == "why"


def test_snd_bad_certificate_is_refused_and_what_may_not_be_called_blocked():
    assert verdict(Answer(fault=Fault.TLS)).kind is Kind.REFUSED
    assert verdict(Answer(fault=Fault.BLOCKED)).kind is Kind.BLOCKED
    assert verdict(Answer()).kind is Kind.RETRY


@pytest.mark.parametrize("status", [401, 403])
def test_snd_wrong_signature_is_tried_once_more_after_a_second(status):
    assert kinds(Answer(status)) == [Kind.RETRY, Kind.REFUSED, Kind.REFUSED, Kind.REFUSED]
    assert verdict(Answer(status)).delay_seconds == 1.0


@pytest.mark.parametrize(
    ("date", "said"),
    [
        (DATE, "the clocks agree"),
        ("Sun, 06 Nov 1994 09:49:37 GMT", "3600 s behind"),
        ("Sun, 06 Nov 1994 08:39:37 GMT", "600 s ahead of"),
        (None, "does not say"),
        ("yesterday", "does not say"),
    ],
)
def test_snd_wrong_signature_names_the_difference_of_the_clocks(date, said):
    assert said in verdict(Answer(401, date=date)).error


def test_snd_misdirected_is_tried_twice_more_and_says_that_the_url_is_shared():
    assert kinds(Answer(421)) == [Kind.RETRY, Kind.RETRY, Kind.REFUSED, Kind.REFUSED]
    assert "shared" in verdict(Answer(421)).error


def test_snd_gone_counts_only_with_our_code_and_that_very_id():
    assert verdict(Answer(410, problem(410, "gone", instance="me"))).kind is Kind.GONE
    assert verdict(Answer(410, problem(410, "gone", instance="another"))).kind is Kind.REFUSED
    assert verdict(Answer(410, problem(410, "malformed", instance="me"))).kind is Kind.REFUSED
    assert verdict(Answer(410)).kind is Kind.REFUSED


def test_too_large_is_split_until_it_is_one():
    assert verdict(Answer(413), count=2).kind is Kind.SPLIT
    assert verdict(Answer(413), count=1).kind is Kind.REFUSED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999999", 999_999_999.0),
        ("Sun, 06 Nov 1994 08:49:40 GMT", 3.0),
        ("Sun, 06 Nov 1994 08:49:30 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("9999999999", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:60 GMT", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Nix 1994 08:49:37 GMT", None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
    ],
)
def test_snd_retry_after_is_a_number_or_a_date_and_junk_is_absent(text, seconds):
    assert verdict(Answer(503, retry_after=text)).delay_seconds == seconds


def test_errors_name_a_problem_code_and_nothing_else_of_the_body():
    assert verdict(Answer(400, problem(400, "malformed"))).error == "answered 400 (malformed)"
    assert verdict(Answer(400, b'{"code": "Se cret", "status": 400}')).error == "answered 400"
    assert verdict(Answer(400, b"secret")).error == "answered 400"


@given(attempt=st.integers(1, 3000), random=st.floats(0, 1, exclude_max=True))
def test_pauses_are_jittered_and_bounded(attempt, random):
    assert 0 <= backoff_seconds(attempt, random) <= min(BACKOFF_CAP_SECONDS, 0.1 * 2 ** min(attempt - 1, 20))


def test_pauses_double():
    assert [backoff_seconds(attempt, 1.0) for attempt in (1, 2, 5, 6, 2000)] == [0.1, 0.2, 1.6, 2.0, 2.0]


def test_heartbeats_vary_by_a_tenth():
    assert [round(heartbeat_delay(10.0, random), 9) for random in (0.0, 0.5, 1.0)] == [9.0, 10.0, 11.0]
