"""Sites of models, with exact values and the local law, for tests of searches."""

from audit.measure.preparation import prepare
from audit.verify.exact import exact_at
from audit.verify.local import local_law
from audit.verify.sites import precise, site_of


def sited(config, count=None):
    """Return (exact, local, prepared) of a scan's first divergence and inputs."""
    prepared = prepare(config, True)
    model, _ = precise(prepared.model)
    coarse = None if model is prepared.model else prepared.model
    site = site_of(model, prepared.questions, prepared.rows[:count], coarse)
    divergence = prepared.questions.divergences[0]
    exact = exact_at(divergence, site)
    return exact, local_law(divergence, site), prepared
