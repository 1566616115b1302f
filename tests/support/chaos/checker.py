"""The history checker: finds what must not have happened. Pure; it knows nothing of the product but its promises.

Each rule reads the whole history (and the final read) and yields a sentence for each violation.
"""

from collections.abc import Callable, Iterator

from support.chaos import cursor_rules, managed_rules, record_rules
from support.chaos.history import FinalRead, History

Rule = Callable[[History, FinalRead], Iterator[str]]

RULES: tuple[Rule, ...] = (
    record_rules.answers_as_promised,
    record_rules.acknowledged_is_stored,
    record_rules.refused_is_not_stored,
    record_rules.stored_was_sent_unchanged,
    record_rules.one_seq_for_one_key,
    record_rules.one_record_for_one_seq,
    record_rules.receipts_tell_duplicates,
    record_rules.seqs_without_gaps,
    record_rules.log_order,
    record_rules.senders_order,
    record_rules.started_runs_are_whole,
    record_rules.ended_runs_stay_ended,
    record_rules.observers_see_everything_once,
    cursor_rules.deliveries_in_order,
    cursor_rules.delivered_is_stored,
    cursor_rules.cursor_never_goes_back,
    cursor_rules.only_delivered_is_acknowledged,
    cursor_rules.only_the_newest_holder_acknowledges,
    cursor_rules.delivered_or_unread,
    cursor_rules.a_living_process_handles_everything_once,
    managed_rules.no_run_is_stuck,
    managed_rules.managed_runs_end_well,
    managed_rules.memory_is_the_fold_of_the_log,
    managed_rules.logs_have_one_order,
    managed_rules.one_epoch_at_a_time,
)


def check(history: History, final: FinalRead) -> list[str]:
    """Every violation, each as `rule: sentence with ids`. Empty: nothing wrong was seen."""
    return [f"{rule.__name__}: {sentence}" for rule in RULES for sentence in rule(history, final)]


def summary(violations: list[str], *, limit: int = 12) -> str:
    """The first violations, and how many there are of each rule."""
    by_rule: dict[str, int] = {}
    for violation in violations:
        rule = violation.split(":", 1)[0]
        by_rule[rule] = by_rule.get(rule, 0) + 1
    counts = ", ".join(f"{rule} {count}" for rule, count in by_rule.items())
    return "\n".join([f"{len(violations)} violations ({counts})", *violations[:limit]])
