"""Where bytes live: local folders and S3 behind one interface, and content digests."""

from phenoscale.storage.digests import digest_bytes, digest_file, digest_listing
from phenoscale.storage.interface import ObjectInfo, Storage
from phenoscale.storage.local import LocalStorage
from phenoscale.storage.open import is_remote, open_storage, read_uri
from phenoscale.storage.outputs import check_output_file, check_output_folder

__all__ = [
    "LocalStorage",
    "ObjectInfo",
    "Storage",
    "check_output_file",
    "check_output_folder",
    "digest_bytes",
    "digest_file",
    "digest_listing",
    "is_remote",
    "open_storage",
    "read_uri",
]
