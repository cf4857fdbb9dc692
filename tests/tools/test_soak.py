"""The soak's verdict: it sees what grows, and forgives what only warms up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tools.soak import ALLOWED, Sample, growth

REST = Sample(kib=30_000, blocks=120_000, objects=200, threads=1, greenlets=2, descriptors=9, sockets=0)


def test_what_warms_up_and_stays_is_no_growth() -> None:
    warm = replace(REST, kib=60_000, blocks=200_000, sockets=64)
    assert growth([REST, REST, *[warm] * 7]) == []


@pytest.mark.parametrize("name", Sample.__dataclass_fields__)
def test_what_grows_in_each_round_is_found_and_named(name: str) -> None:
    step = getattr(ALLOWED, name) // 3 + 1
    samples = [replace(REST, **{name: getattr(REST, name) + step * number}) for number in range(9)]
    assert [complaint.split()[0] for complaint in growth(samples)] == [name]


def test_one_round_out_of_line_is_no_growth() -> None:
    odd = replace(REST, sockets=50, threads=50)
    assert growth([*[REST] * 7, odd, REST]) == []
