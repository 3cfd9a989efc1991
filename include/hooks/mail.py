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
            ServiceUnavailable: the server cannot be reached or hung up, or the connection is missing.
            PermanentError: the server refused the log-in or the mail.
        """
        from smtplib import SMTPException, SMTPServerDisconnected

        from airflow.providers.smtp.hooks.smtp import SmtpHook
        from airflow.sdk.exceptions import AirflowException

        from include.errors import PermanentError, ServiceUnavailable

        try:
            with SmtpHook(smtp_conn_id=self.smtp_conn_id) as hook:
                hook.send_email_smtp(to=to, subject=subject, html_content=html, from_email=sender)
        except SMTPServerDisconnected as error:
            raise ServiceUnavailable(f"the mail server hung up: {error}") from error
        except SMTPException as error:
            raise PermanentError(f"the mail server refused: {error}") from error
        except (OSError, AirflowException) as error:  # the hook's own word for a lost connection
            raise ServiceUnavailable(f"the mail server cannot be reached: {error}") from error
