"""Files as they lie on the disk: opened once, hashed, unzipped; nothing is believed.

Whoever reads a file of somebody else reads it here: regular files only, and archives
that every reader understands alike. Standard library only.
"""

from audit.ground.storage.members import CHUNK, read_members, unpack, unpacked
from audit.ground.storage.regular import StoredFile, followed, open_regular
from audit.ground.storage.specs import split_spec
from audit.ground.storage.zips import Member, ZipFault

__all__ = [
    "CHUNK",
    "Member",
    "StoredFile",
    "ZipFault",
    "followed",
    "open_regular",
    "read_members",
    "split_spec",
    "unpack",
    "unpacked",
]
