"""The stores of the operators' tests."""

from tests.operators.conftest import deployment, mails, no_mail_server

__all__ = ["deployment", "mails", "no_mail_server"]
