"""No secret is logged; and if one were, it would be noticed."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.planted import FOUND

PLUGIN = """
from tests.planted import Listener


def pytest_configure(config):
    config.pluginmanager.register(Listener())
"""
CODE, PHONE = '{"code": "7YPKQXWN"}', '{"provider": "dev", "code": "+8613812345678"}'
CASES = {
    "message": "logging.getLogger('any.where').debug('at %s', SECRET)",
    "exception": "try:\n        int(SECRET)\n    except ValueError:\n        logging.exception('told')",
    "address": "logging.getLogger('app').info(f'GET /?phone={quote(SECRET, safe=str())}')",
    "own handlers": "apart = logging.getLogger('apart')\n    apart.propagate = False\n    apart.warning(SECRET)",
    "before it is known": "logging.info('made %s', SECRET)\n    plant(SECRET)",
    "a process": "hear(subprocess.run(['echo', SECRET], capture_output=True, text=True).stdout)",
    "a process's own": "hear('eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmVk')",
    "a page": "logging.info('made a-page-of-ones-own')\n    plant_addresses('http://x/link/a-page-of-ones-own?y')",
    "a stand-in": "logging.info('made new-secret')\n    plant_stand_in(Namespace(token='new-secret', busy=0))",
    "a link code": f"logging.info('made 7YPKQXWN')\n    plant_fields(b'{CODE}', f'{{ME}}link-codes')",
    "a phone": f"logging.info('13812345678')\n    plant_fields(b'{PHONE}', f'{{ME}}phone')",
    "an answer": 'logging.info(\'made new-secret\')\n    plant_fields(b\'{"secret": {"one": "new-secret"}}\')',
}
HEAD = """
import logging, subprocess
from argparse import Namespace
from urllib.parse import quote
from tests.planted import hear, plant, plant_addresses, plant_fields, plant_stand_in

ME = "/v1/members/me/"
SECRET = "s3cret/+86138"


def test_nothing():
    pass


def test_it():
"""
ADDRESSES = ("/v1/ops/members?phone=%2B8613800138000", "/sandbox/pay/secret-token", "/link/secret-token?a=b")


def run_tests(folder: Path, body: str, *options: str) -> tuple[int, str]:
    """Run a test that does this, after having planted its secret."""
    (folder / "conftest.py").write_text(PLUGIN)
    (folder / "test_it.py").write_text(f"{HEAD}    {body}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("how", CASES)
def test_a_secret_that_is_logged_fails_the_run(tmp_path: Path, how: str) -> None:
    body = CASES[how] if "plant(" in CASES[how] else f"plant(SECRET)\n    {CASES[how]}"
    code, output = run_tests(tmp_path, body)
    assert "2 passed" in output, output
    assert code == 1
    assert f"{FOUND}: 1 of" in output


def test_a_secret_that_is_logged_fails_a_shared_run(tmp_path: Path) -> None:
    code, output = run_tests(tmp_path, f"plant(SECRET)\n    {CASES['message']}", "-p", "xdist", "-n", "2")
    assert (code, f"{FOUND}: 1 of" in output) == (1, True), output


def test_a_secret_that_is_kept_does_not(tmp_path: Path) -> None:
    code, output = run_tests(tmp_path, "plant(SECRET)\n    logging.info('nothing')")
    assert (code, f"{FOUND}: 0 of 2, in 1 lines" in output) == (0, True), output


@pytest.mark.parametrize(
    ("path", "provider"), [("/v1/coupons", "wechat"), ("/v1/sessions", "dev")], ids=["of a coupon", "any name"]
)
def test_a_code_that_is_no_secret_is_not_planted(tmp_path: Path, path: str, provider: str) -> None:
    body = json.dumps({"provider": provider, "code": "ABCDEFGHIJ"}).encode()
    code, output = run_tests(tmp_path, f"plant(SECRET)\n    plant_fields({body!r}, {path!r})")
    assert (code, f"{FOUND}: 0 of 2" in output) == (0, True), output


@pytest.mark.parametrize("address", ADDRESSES)
def test_servers_log_addresses_without_secrets(address: str, caplog: pytest.LogCaptureFixture) -> None:
    access, error = logging.getLogger("uvicorn.access"), logging.getLogger("uvicorn.error")
    with caplog.at_level(logging.INFO, "uvicorn.access"), caplog.at_level(logging.INFO, "uvicorn.error"):
        access.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:80", "GET", address, "1.1", 200)
        error.info('%s - "WebSocket %s" [accepted]', "127.0.0.1:80", address)
    assert len(caplog.messages) == 2
    for said in caplog.messages:
        assert "secret" not in said
        assert "138" not in said
        assert address[:6] in said
