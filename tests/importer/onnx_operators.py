"""Every registered version of every operator."""

from audit.importer import registry


def operators():
    registry._load_operators()
    return [entry for versions in registry._OPERATORS.values() for entry in versions]
