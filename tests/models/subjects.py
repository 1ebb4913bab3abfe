"""Files under the gates without a family: φ is all outputs, one after the other."""

import torch

from audit.models.batching import any_batch
from audit.models.gates import Subject, examine
from audit.models.onnx_file import load

CPU = torch.device("cpu")


def flat(outputs):
    return torch.cat([v.double().reshape(len(v), -1) for v in outputs.values()], dim=1)


def subject_of(network, x):
    name = network.inputs[0].name
    call = any_batch(network, name, tuple(x.shape[1:]))
    with torch.no_grad():
        outputs = call({name: x})
    return Subject(network, name, {name: x}, outputs, call, flat, tuple(outputs))


def examined(path, x):
    return examine(subject_of(load(path, CPU, False, frozenset()), x), True)
