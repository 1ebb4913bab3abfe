"""How true are the local numbers? Exact values at a sample of the inputs."""

from audit.verify.checks import Verified, verify
from audit.verify.keeping import save_witness
from audit.verify.ladder import Ladder, ladder_of
from audit.verify.long import checked_of, said_of
from audit.verify.portraits import portraits
from audit.verify.sample import draw_sample

__all__ = [
    "Ladder",
    "Verified",
    "checked_of",
    "draw_sample",
    "ladder_of",
    "portraits",
    "said_of",
    "save_witness",
    "verify",
]
