"""Mail, through the SMTP provider's hook."""

from __future__ import annotations

from airflow.sdk import BaseHook


class MailHook(BaseHook):
    """
    Send mails.

    :param smtp_conn_id: an SMTP connection.
    """

    conn_name_attr = "smtp_conn_id"
    default_conn_name = "assetflow_smtp"

    def __init__(self, smtp_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.smtp_conn_id = smtp_conn_id

    def send(self, *, to: str, subject: str, html: str, sender: str) -> None:
        """Send one mail.

        Raises:
            OSError: the server cannot be reached or refuses (``smtplib.SMTPException`` is one).
        """
        from airflow.providers.smtp.hooks.smtp import SmtpHook

        with SmtpHook(smtp_conn_id=self.smtp_conn_id) as hook:
            hook.send_email_smtp(to=to, subject=subject, html_content=html, from_email=sender)
