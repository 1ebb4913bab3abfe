"""`import robaudit` gives the module `audit`.

The wheel holds this file as `robaudit.py`. An editable install maps `audit` alone, so
that there `import audit` is the only name.
"""

import sys

import audit

sys.modules[__name__] = audit
