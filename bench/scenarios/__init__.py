"""What can be measured on a data set: each scenario is a module here, and one line below."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nearfield.bench.adapters.base import Competitor
from nearfield.bench.datasets import Dataset
from nearfield.bench.harness import Reporter
from nearfield.bench.job import Job
from nearfield.bench.libraries import measure_libraries
from nearfield.bench.payloads import filter_families
from nearfield.bench.scenarios.builds import measure_builds
from nearfield.bench.scenarios.churn import measure_churn
from nearfield.bench.scenarios.filtered_libraries import measure_filtered_libraries
from nearfield.bench.scenarios.filters import measure_filters
from nearfield.bench.scenarios.projections import has_training_queries, measure_projections


@dataclass(frozen=True)
class Scenario:
    """One kind of measurement.

    Args:
        name: as `--scenario` has it.
        measure: takes the job, the competitors asked for, and where to report.
        applies: whether a data set has what it needs.
    """

    name: str
    measure: Callable[[Job, Sequence[Competitor], Reporter], None]
    applies: Callable[[Dataset], bool]


def _has_filters(dataset: Dataset) -> bool:
    return bool(filter_families(dataset.folder))


SCENARIOS = (
    Scenario("builds", measure_builds, lambda dataset: True),
    Scenario("search", measure_libraries, lambda dataset: True),
    Scenario("projections", measure_projections, has_training_queries),
    Scenario("filters", measure_filtered_libraries, _has_filters),
    Scenario("churn", measure_churn, lambda dataset: True),
    Scenario("collection-filters", measure_filters, _has_filters),
)
