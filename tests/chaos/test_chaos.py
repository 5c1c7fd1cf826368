"""`make chaos` in its short form: everything that is done to the service, once; and nothing is left behind."""

import json

from chaos.crashes import CRASH_POINTS
from tests.commands import run_and_leave_nothing

ZERO = (
    *("lost_acknowledgements", "double_effects", "effects_of_refusals", "leaked_places"),
    *("oversold", "undersold", "money_astray", "webhooks_astray", "violations"),
)


def test_nothing_is_lost_when_things_die() -> None:
    told = json.loads(run_and_leave_nothing("chaos", "--short").splitlines()[-1])
    assert {name: told[name] for name in ZERO} == dict.fromkeys(ZERO, 0)
    assert told["failures"] == []
    assert told["crash_points"] == len(CRASH_POINTS)
    assert told["checker_sees_a_removed_guard"] is True
    assert told["postgresql_away"]["acknowledged"] == 0
    assert told["rolling_restart"]["unanswered"] == 0
    assert told["acknowledged"] > 1000
    assert told["webhooks"]["events"] > 100
    assert told["webhooks"]["sent"] > told["webhooks"]["accepted"], "some were refused at first"
