"""S3: look, read and write small objects with boto3, send many or large ones with obstore.

API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html

Whoever makes the boto3 client gives it ``Config(retries={"mode": "standard", "total_max_attempts":
4}, max_pool_connections=32)`` and time-outs: the methods here call once and leave repeating to
botocore. Never set ``preferred_transfer_client="crt"``: it ignores ``endpoint_url``.

Quirks met:

* A HEAD answers 404 for a missing key and for a missing bucket alike; a GET tells them apart.
* botocore reads an empty 200 answer to a listing as an empty listing, so the fields that every
  listing has are asked for.
* After a lost answer botocore repeats a conditional PUT and then gets 412 for its own success:
  the caller of a conditional write has to look who wrote the object.
* Joined part digests make the ETag of a multipart upload; the CRC64NVME is always of the whole
  object and so is what content is compared by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from include.assets.stored_object import Folder, StoredObject
from include.clients.s3_errors import from_botocore, from_obstore
from include.clients.s3_listing import read_listings_quickly
from include.errors import BucketNotFound, MalformedAnswer, NotFound, ServiceUnavailable

if TYPE_CHECKING:
    import boto3
    from obstore.store import S3Config

MULTIPART_LIMIT_PARTS = 10_000
"""S3 takes no more parts per object."""

GONE = "NoSuchUpload"
"""S3's code for parts of an upload that was finished or thrown away, maybe by somebody else."""

PART_MEMORY_BYTES = 128 * 2**20
"""Parts of one object held in memory at a time while they are sent."""


class S3Client:
    """Look at, read and write objects, one request at a time; safe to share between threads.

    Args:
        client: of boto3, which makes its methods at run time and so has no type.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        read_listings_quickly(client)

    def has_objects(self, bucket: str, prefix: str) -> bool:
        """Whether anything lies under *prefix*, which ends with a slash. One request.

        Raises:
            NotFound: the bucket does not exist.
        """
        return bool(self._list_page(bucket, _folder(prefix), MaxKeys=1).get("Contents"))

    def iterate_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """All objects under *prefix*, in key order, 1,000 per request.

        Raises:
            NotFound: the bucket does not exist.
            ServiceUnavailable, MalformedAnswer: a page is missing or broken; what was yielded
                before is not the whole list.
        """
        for page in self._pages(bucket, prefix):
            for entry in page.get("Contents", ()):
                yield _stored_object(f"list s3://{bucket}/{prefix}", entry["Key"], entry, "Size")

    def iterate_folders(self, bucket: str) -> Iterator[list[str]]:
        """Names of the folders at the top of a bucket, in key order: a page of up to 1,000 per request.

        Raises:
            NotFound: the bucket does not exist.
            ServiceUnavailable, MalformedAnswer: a page is missing or broken; what was yielded
                before is not the whole list.
        """
        for page in self._pages(bucket, "", Delimiter="/"):
            yield [one["Prefix"].removesuffix("/") for one in page.get("CommonPrefixes", ())]

    def list_folder(self, bucket: str, prefix: str) -> Folder:
        """The objects directly below *prefix*, which ends with a slash, and the folders there.

        Raises:
            NotFound: the bucket does not exist.
        """
        where = f"list s3://{bucket}/{prefix}"
        objects: list[StoredObject] = []
        folders: list[str] = []
        for page in self._pages(bucket, _folder(prefix), Delimiter="/"):
            objects += (
                _stored_object(where, e["Key"], e, "Size") for e in page.get("Contents", ())
            )
            folders += (one["Prefix"] for one in page.get("CommonPrefixes", ()))
        return Folder.of(prefix, objects, folders)

    def _pages(self, bucket: str, prefix: str, **options: Any) -> Iterator[dict[str, Any]]:
        position: dict[str, str] = {}
        while True:
            page = self._list_page(bucket, prefix, **options, **position)
            yield page
            if not page["IsTruncated"]:
                return
            token = page.get("NextContinuationToken")
            if not token or token == position.get("ContinuationToken"):
                raise MalformedAnswer(f"list s3://{bucket}/{prefix}: no way on after a cut page")
            position = {"ContinuationToken": token}

    def _list_page(self, bucket: str, prefix: str, **options: Any) -> dict[str, Any]:
        where = f"list s3://{bucket}/{prefix}"
        page: dict[str, Any] = self._call(
            where, self._client.list_objects_v2, Bucket=bucket, Prefix=prefix, **options
        )
        found = len(page.get("Contents", ())) + len(page.get("CommonPrefixes", ()))
        if "IsTruncated" not in page or page.get("KeyCount") != found:
            raise MalformedAnswer(f"{where}: the answer is not a whole page of a listing")
        return page

    def head(self, bucket: str, key: str) -> StoredObject:
        """One object with its CRC64NVME.

        Raises:
            NotFound: no such object, or no such bucket (the message says which).
        """
        where = f"HEAD s3://{bucket}/{key}"
        try:
            found = self._call(
                where, self._client.head_object, Bucket=bucket, Key=key, ChecksumMode="ENABLED"
            )
        except NotFound:
            self._call(
                f"GET s3://{bucket}/{key}",
                self._client.get_object,
                Bucket=bucket,
                Key=key,
                Range="bytes=0-0",
            )
            # It was written between the two requests.
            raise ServiceUnavailable(f"{where}: was not there, then it was") from None
        return _stored_object(where, key, found, "ContentLength")

    def read(self, bucket: str, key: str) -> bytes:
        """The content of one object that fits into memory.

        Raises:
            NotFound: no such object, or no such bucket (the message says which).
            ServiceUnavailable: also when the content arrived in part.
        """
        return self.read_with_etag(bucket, key)[0]

    def read_with_etag(
        self, bucket: str, key: str, *, if_match: str | None = None
    ) -> tuple[bytes, str]:
        """Content and ETag (without quotes) of one object, to write it back under a condition.

        Raises:
            PreconditionFailed: it is no longer the one with the ETag *if_match*.
        """
        where = f"GET s3://{bucket}/{key}"
        condition = {} if if_match is None else {"IfMatch": f'"{if_match}"'}
        answer = self._call(where, self._client.get_object, Bucket=bucket, Key=key, **condition)
        return self._call(where, answer["Body"].read), _etag(where, answer)

    def read_json(self, bucket: str, key: str) -> Any:
        """The content of one object, parsed.

        Raises:
            MalformedAnswer: it is not JSON.
        """
        content = self.read(bucket, key)
        try:
            return json.loads(content)
        except ValueError as error:
            raise MalformedAnswer(f"s3://{bucket}/{key} is not JSON: {error}") from error

    def put_bytes(
        self,
        bucket: str,
        key: str,
        content: bytes,
        *,
        content_type: str = "application/octet-stream",
        if_none_match: bool = False,
        if_match: str | None = None,
    ) -> str:
        """Write one small object and return its ETag (without quotes).

        Args:
            if_none_match: write only if there is no such object.
            if_match: write only over the object with this ETag.

        Raises:
            PreconditionFailed: the condition does not hold.
        """
        conditions: dict[str, str] = {}
        if if_none_match:
            conditions["IfNoneMatch"] = "*"
        if if_match is not None:
            conditions["IfMatch"] = f'"{if_match}"'
        where = f"PUT s3://{bucket}/{key}"
        answer = self._call(
            where,
            self._client.put_object,
            Bucket=bucket,
            Key=key,
            Body=content,
            ContentType=content_type,
            ChecksumAlgorithm="CRC64NVME",
            **conditions,
        )
        return _etag(where, answer)

    def copy_object(self, bucket: str, key: str, target: str, *, if_match: str) -> None:
        """Copy one object within its bucket, in S3, unless *target* is there.

        Args:
            if_match: ETag of the object that is meant.

        Raises:
            NotFound: it is not there any more.
            PreconditionFailed: it is another one now, or something is at *target*.
        """
        self._call(
            f"copy s3://{bucket}/{key} to {target}",
            self._client.copy_object,
            Bucket=bucket,
            Key=target,
            CopySource={"Bucket": bucket, "Key": key},
            CopySourceIfMatch=f'"{if_match}"',
            IfNoneMatch="*",
        )

    def delete_object(self, bucket: str, key: str, *, if_match: str | None = None) -> None:
        """Delete one object; a missing one is no error unless *if_match* asks for its ETag."""
        condition = {} if if_match is None else {"IfMatch": f'"{if_match}"'}
        self._call(
            f"DELETE s3://{bucket}/{key}",
            self._client.delete_object,
            Bucket=bucket,
            Key=key,
            **condition,
        )

    def abort_uploads(self, bucket: str, prefix: str) -> int:
        """Throw away the parts of uploads under *prefix* that were never finished.

        One that ended by itself meanwhile is as good as thrown away, but not counted.

        Returns:
            How many uploads were thrown away.
        """
        where = f"list unfinished uploads of s3://{bucket}/{prefix}"
        position: dict[str, str] = {}
        aborted = 0
        while True:
            page = self._call(
                where,
                self._client.list_multipart_uploads,
                Bucket=bucket,
                Prefix=_folder(prefix),
                **position,
            )
            for upload in page.get("Uploads", ()):
                aborted += self._abort_upload(bucket, upload["Key"], upload["UploadId"])
            if not page.get("IsTruncated"):
                return aborted
            position = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def _abort_upload(self, bucket: str, key: str, upload_id: str) -> bool:
        """Whether there was such an upload still."""
        try:
            self._call(
                f"abort upload of s3://{bucket}/{key}",
                self._client.abort_multipart_upload,
                Bucket=bucket,
                Key=key,
                UploadId=upload_id,
            )
        except NotFound as error:
            refused = error.__cause__
            if isinstance(refused, ClientError) and refused.response["Error"]["Code"] == GONE:
                return False
            raise
        return True

    def _call(self, where: str, function: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return function(**arguments)
        except (BotoCoreError, ClientError) as error:
            raise from_botocore(where, error) from error


class ObjectWriter:
    """Send many or large objects into one bucket, each with its CRC64NVME; for use in threads.

    Args:
        session: whose credentials are used; asked again when they are about to expire.
        endpoint_url: None for AWS itself.
        part_size_bytes: objects above are sent in parts of at least this size.
        max_retries: repetitions of one request after a 5xx answer or a broken connection.
    """

    def __init__(
        self,
        bucket: str,
        *,
        session: boto3.Session,
        endpoint_url: str | None = None,
        region: str | None = None,
        part_size_bytes: int = 16 * 2**20,
        max_retries: int = 4,
    ) -> None:
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        self.bucket = bucket
        self.part_size_bytes = part_size_bytes
        is_plain_http = endpoint_url is not None and endpoint_url.startswith("http://")
        place: S3Config = {} if endpoint_url is None else {"endpoint": endpoint_url}
        self._store = S3Store(
            bucket,
            config=place,
            region=region or session.region_name or "us-east-1",
            credential_provider=Boto3CredentialProvider(session, ttl=timedelta(minutes=5)),
            checksum_algorithm="CRC64NVME",
            # TLS and the checksum already guard the content; hashing it for the signature as
            # well would be most of the processor time.
            unsigned_payload=not is_plain_http,
            client_options={"allow_http": is_plain_http, "timeout": timedelta(minutes=5)},
            retry_config={"max_retries": max_retries, "retry_timeout": timedelta(minutes=3)},
        )

    def put_bytes(self, key: str, content: bytes) -> str:
        """Write one object in one request and return its ETag (without quotes)."""
        return self._put(key, content, use_multipart=False)

    def put_chunks(self, key: str, chunks: Iterable[bytes], size_bytes: int) -> str:
        """Write one object in parts, sent while *chunks* are read.

        An exception out of *chunks* ends the upload, leaves no object and is raised as it is.

        Args:
            size_bytes: how much is about to come; decides the size of a part.

        Returns:
            The ETag (without quotes).
        """
        part_size_bytes = max(self.part_size_bytes, -(-size_bytes // MULTIPART_LIMIT_PARTS))
        return self._put(
            key,
            chunks,
            use_multipart=True,
            chunk_size=part_size_bytes,
            max_concurrency=max(1, min(8, PART_MEMORY_BYTES // part_size_bytes)),
        )

    def _put(self, key: str, content: bytes | Iterable[bytes], **options: Any) -> str:
        import obstore
        from obstore.exceptions import BaseError

        where = f"PUT s3://{self.bucket}/{key}"
        try:
            answer = obstore.put(self._store, key, content, **options)
        except FileNotFoundError as error:
            if error.errno is not None:
                raise  # out of the chunks: a file of ours
            # obstore says so when S3 answers 404.
            if f"<Code>{GONE}</Code>" in str(error):
                said = f"{where}: somebody ended the upload while it was sent ({GONE})"
                raise ServiceUnavailable(said) from error
            # A PUT can miss nothing else.
            raise BucketNotFound(f"{where}: the bucket itself does not exist") from error
        except BaseError as error:
            raise from_obstore(where, error) from error
        return str(answer["e_tag"]).strip('"')


def _etag(where: str, answer: dict[str, Any]) -> str:
    if "ETag" not in answer:
        raise MalformedAnswer(f"{where}: the answer has no ETag; is this S3?")
    return str(answer["ETag"]).strip('"')


def _stored_object(where: str, key: str, answer: dict[str, Any], size: str) -> StoredObject:
    if size not in answer or "LastModified" not in answer:
        raise MalformedAnswer(f"{where}: the answer has no {size} or no date for {key}")
    # A composite checksum is of the parts, not of the content.
    is_whole = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    return StoredObject(
        key=key,
        size_bytes=answer[size],
        etag=_etag(where, answer),
        last_modified=answer["LastModified"],
        crc64nvme=answer.get("ChecksumCRC64NVME") if is_whole else None,
    )


def _folder(prefix: str) -> str:
    if not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} would also match its longer neighbours; end it with a slash")
    return prefix
