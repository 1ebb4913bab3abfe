"""`audit` as a library: the command line's pipeline, on files or on live objects.

    scan(model, data, **settings)       -> Report
    inspect(model, data, **settings)    -> Inspection
    check(report, **limits)             -> Report
    local_form(density, x, divergence)  -> QuadraticForm, δ -> c |A δ|²

`model` is a path, a torch module (with `family=` and `parameters=` as on the command
line, or none where the names of its outputs leave no doubt), a function or module of x
that returns a torch distribution, or a trained estimator of zuko, nflows or sbi. `data`
is a path, an array, a tensor, or a dict of them. `settings` are the options of
`robaudit.yaml` by their names there; neither that file nor the environment is read. A
scan keeps its rows in memory, 8·K·d bytes and more for each input and divergence.

Here is a whole audit. A model is a function of x that returns a distribution:

>>> import numpy as np, torch, audit
>>> _ = torch.manual_seed(0)
>>> from torch import nn
>>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
>>> x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
>>> report = audit.scan(lambda x: torch.distributions.Normal(net(x), 0.5), x)
>>> report.verdict, report.record.model.family, report.record.data.source
('none', 'normal', 'array (12, 4) float32')
>>> report.summary("kl", "eigenvalue").n
12
>>> report.rows["kl.directions"].shape
(12, 2, 4)

The inputs that move the prediction most, with the ends of the way that moves it:

>>> (worst,) = report.worst(1)
>>> bool(np.allclose(worst.above, worst.x + worst.radius * worst.direction))
True

A limit gives a verdict, now or later:

>>> audit.check(report, max={"kl.eigenvalue.max": 1e-6}).verdict
'fail'

The form itself, to ask other questions of:

>>> def normal(x):
...     return torch.distributions.Normal(3 * x, torch.ones_like(x))
>>> form = audit.local_form(normal, [[0.0, 0.0]], "kl")
>>> value = form(torch.tensor([[0.1, 0.0]], dtype=torch.float64))  # ½ · (3 · 0.1)²
>>> round(value.item(), 6)
0.045

What is wrong is said in three parts, what was given, what was expected, what to do:

>>> audit.scan(net, x, famly="normal")
Traceback (most recent call last):
audit.ground.errors.ConfigError: 'famly' is not among the keywords of this call. The ...
"""
