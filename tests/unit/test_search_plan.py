"""The plan of one segment: every decision, with its reason."""

import pytest

from nearfield.engine.search.plan import Step, plan_segment


@pytest.mark.parametrize(
    "allowed, exact, cost, step, reason",
    [
        (0, False, 10.0, Step.SKIP, "no row"),
        (0, True, None, Step.SKIP, "no row"),
        (100, True, None, Step.SCAN, "exact"),
        (60, True, None, Step.FILTERED_SCAN, "exact"),
        (100, False, None, Step.SCAN, "no index"),
        (60, False, None, Step.FILTERED_SCAN, "no index"),
        (100, False, 99.0, Step.INDEX, "fewer rows"),
        (60, False, 59.0, Step.INDEX, "fewer rows"),
        (60, False, 60.0, Step.FILTERED_SCAN, "so few rows"),
        (100, False, 100.0, Step.SCAN, "so many hits"),
    ],
)
def test_decisions(allowed: int, exact: bool, cost: float | None, step: Step, reason: str) -> None:
    plan = plan_segment(count=100, allowed=allowed, exact=exact, index_rows_read=cost)
    assert plan.step is step
    assert reason in plan.reason
