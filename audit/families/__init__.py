"""The families, by the name users give them: torch.distributions' own, snake case."""

from audit.registry import Registry

FAMILIES: "Registry[type]" = Registry("families", {})
