"""What the server says about itself over HTTP."""

from dataclasses import dataclass
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from bench.processes import Child


@dataclass(frozen=True)
class Committed:
    """What the server had stored at one moment, since it started."""

    commits: float
    records: float

    def records_each_since(self, before: "Committed") -> float:
        """The mean number of records in a commit since then; 0 where nothing was committed."""
        commits = self.commits - before.commits
        return (self.records - before.records) / commits if commits else 0.0


def committed(server: Child) -> Committed:
    """Reads the server's counters."""
    with urlopen(server.ready["metrics_url"]) as response:
        families = text_string_to_metric_families(response.read().decode())
    commits = records = 0.0
    for sample in (sample for family in families for sample in family.samples):
        if sample.name == "midstream_commit_batch_operations_count":
            commits = sample.value
        elif sample.name == "midstream_sends_total" and sample.labels["result"] == "accepted":
            records = sample.value
    return Committed(commits, records)
