"""`python -m audit` is `robaudit`."""

from audit.cli import main

main()
