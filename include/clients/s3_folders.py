"""Listings of very many small folders, at a tenth of what boto3 takes for one.

obstore lists a folder in a quarter of a millisecond of processor time, boto3 in 2.7. But obstore believes
more than it should: an error document, a page of HTML and a cut page without a way on, each answered with
200, are empty listings to it. So what it lists counts only when there is something in it, and everything
else, an error too, is asked again of :class:`~include.clients.s3.S3Client`, whose answers and errors are
strict. A folder that is not there therefore costs two requests.

Half a page that obstore takes for a whole one leaves files out. Nobody may conclude from one of these
listings that a file can be made or overwritten, except under the condition that it really is as listed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from include.assets.stored_object import Folder, StoredObject
from include.clients.s3 import S3Client

if TYPE_CHECKING:
    import boto3

TIME_LIMIT_S = 30


class S3Folders:
    """List folders of one bucket; safe to share between threads, which it does not block.

    Args:
        strict: asked whenever the quick answer is not proof enough.
        session: whose credentials are used; asked again when they are about to expire.
        endpoint_url: None for AWS itself.
        time_limit_s: of one request.
    """

    def __init__(
        self,
        bucket: str,
        strict: S3Client,
        *,
        session: boto3.Session,
        endpoint_url: str | None = None,
        region: str | None = None,
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        self.bucket = bucket
        self._strict = strict
        place: Any = {} if endpoint_url is None else {"endpoint": endpoint_url}
        self._store = S3Store(
            bucket,
            config=place,
            region=region or session.region_name or "us-east-1",
            credential_provider=Boto3CredentialProvider(session, ttl=timedelta(minutes=5)),
            client_options={
                "allow_http": endpoint_url is not None and endpoint_url.startswith("http://"),
                "timeout": timedelta(seconds=time_limit_s),
            },
            # The strict client tries again by itself.
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=time_limit_s)},
        )

    def list_folder(self, prefix: str) -> Folder:
        """The objects directly below *prefix*, which ends with a slash, and the folders there.

        Raises:
            NotFound: the bucket does not exist.
            AccessDenied, ServiceUnavailable, MalformedAnswer: it is not known what is there.
        """
        import obstore
        from obstore.exceptions import BaseError

        try:
            found = obstore.list_with_delimiter(self._store, prefix)
        except (BaseError, OSError, ValueError):
            # Some keys that S3 takes are none to obstore: two slashes in a row, control characters.
            return self._strict.list_folder(self.bucket, prefix)
        folder = Folder.of(
            prefix,
            (
                StoredObject(
                    key=str(one["path"]),
                    size_bytes=one["size"],
                    etag=str(one["e_tag"]).strip('"'),
                    last_modified=one["last_modified"],
                )
                for one in found["objects"]
                if one["e_tag"]
            ),
            found["common_prefixes"],
        )
        return self._strict.list_folder(self.bucket, prefix) if folder.is_empty else folder
