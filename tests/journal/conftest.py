import pytest

from tests.postgres import postgres, postgres_server  # noqa: F401 - fixtures

pytest.register_assert_rewrite("tests.journal.contract")
