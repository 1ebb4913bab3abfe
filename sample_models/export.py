"""Write one torch module as ONNX, TorchScript and torch.export, and compare the three.

Every sample model goes through `save`. Its forward takes one tensor `x` and returns a
dictionary of named tensors; the names reach all three files. The contract (a YAML
document that tells robaudit what the outputs mean) goes into each of them under the
key `robaudit`, and whatever the exporters note about the machine they ran on
(source paths, stack traces) is taken out again.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import yaml
from torch import Tensor, nn

KEY = "robaudit"
OPSET = 20
BATCHES = (1, 3, 200)
TOLERANCE = 2e-5
Results = dict[str, float | np.ndarray]
FORBIDDEN = tuple(
    text.encode() for text in ("/work", "/root", "/opt/", "/home", "/tmp", "site-pack")
)

warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", message=".*were assigned during export.*")
warnings.filterwarnings("ignore", message=".*with a batch_size other than 1.*")
warnings.filterwarnings("ignore", message=".*legacy TorchScript-based ONNX export.*")
logging.getLogger("torch.onnx").setLevel(logging.ERROR)


def prepare(seed: int) -> torch.Generator:
    """Fix what could change the weights: the seed, the threads, the algorithms."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def start(main: Callable[[Path], dict[str, Results]]) -> None:
    """Run a script for the folder on its command line and keep what it measured.

    Numbers go to measured.json, arrays (one value per test input) to reference.npz.
    """
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "measured.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    store = folder / "reference.npz"
    arrays = dict(np.load(store)) if store.exists() else {}
    for name, results in main(folder).items():
        known[name] = {
            key: float(f"{value:.6g}")
            for key, value in results.items()
            if not isinstance(value, np.ndarray)
        }
        arrays |= {
            f"{name}.{key}": value
            for key, value in results.items()
            if isinstance(value, np.ndarray)
        }
        print(name, known[name])
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    save_data(folder, "reference", **{key: arrays[key] for key in sorted(arrays)})


def save(
    model: nn.Module,
    name: str,
    x: Tensor,
    contract: dict[str, object],
    folder: Path,
    *,
    scripted: nn.Module | None = None,
) -> None:
    """Write NAME.onnx, NAME.pt and NAME.pt2 and check that they agree.

    Args:
        model: the trained module, `x -> {output name: tensor}`.
        name: the stem of the three files.
        x: some real inputs; they choose the ranks and serve the comparison.
        contract: the YAML document for the key `robaudit`.
        folder: where the files go.
        scripted: a module to compile from its source for TorchScript, where the
            default is a trace of `model`.
    """
    model = model.eval()
    x = x.clone()  # a view would bring its whole storage into the archive
    with torch.no_grad():
        outputs = list(model(x[:3]))
    document = yaml.safe_dump(contract, sort_keys=False)
    save_onnx(model, folder / f"{name}.onnx", x, outputs, contract)
    if scripted is None:
        module = torch.jit.trace(model, (x[:3],), strict=False)
    else:
        module = torch.jit.script(scripted.eval())
    save_torchscript(module, folder / f"{name}.pt", document)
    save_exported(model, folder / f"{name}.pt2", x, document)
    worst = max(
        compare(model, run(folder / f"{name}{suffix}"), x, f"{name}{suffix}")
        for suffix in (".onnx", ".pt", ".pt2")
    )
    sizes = [
        (folder / f"{name}{suffix}").stat().st_size
        for suffix in (".onnx", ".pt", ".pt2")
    ]
    print(f"{name}: largest difference {worst:.1e}; bytes {sizes}")


def save_onnx(
    model: nn.Module,
    path: Path,
    x: Tensor,
    outputs: Sequence[str],
    contract: dict[str, object] | None,
    *,
    dynamo: bool = True,
    batch: int | None = None,
) -> None:
    """Write one ONNX file with its weights inside; `batch` fixes the batch size."""
    model = model.eval()
    if dynamo:
        program = torch.onnx.export(
            model,
            (x[: batch or 3],),
            dynamo=True,
            input_names=["x"],
            output_names=list(outputs),
            dynamic_shapes=None if batch else ({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            verbose=False,
        )
        proto = program.model_proto
    else:
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / path.name
            axes = {key: {0: "batch"} for key in ("x", *outputs)}
            torch.onnx.export(
                model,
                (x[: batch or 3],),
                file,
                dynamo=False,
                input_names=["x"],
                output_names=list(outputs),
                dynamic_axes=None if batch else axes,
                opset_version=17,
            )
            proto = onnx.load(file)
    strip_onnx(proto)
    if contract is not None:
        proto.metadata_props.add(
            key=KEY, value=yaml.safe_dump(contract, sort_keys=False)
        )
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    assert_clean(path)


def strip_onnx(proto: onnx.ModelProto) -> None:
    """Remove stack traces and notes: doc strings and metadata, at every level."""
    del proto.metadata_props[:]
    proto.doc_string = ""
    graphs = [proto.graph]
    nodes: list[onnx.NodeProto] = []
    values: list[onnx.ValueInfoProto | onnx.TensorProto] = []
    for function in proto.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        values.extend(function.value_info)
        nodes.extend(function.node)
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            graph.doc_string = ""
            del graph.metadata_props[:]
            values.extend(
                (*graph.input, *graph.output, *graph.initializer, *graph.value_info)
            )
            nodes.extend(graph.node)
            continue
        node = nodes.pop()
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            if attribute.type == onnx.AttributeProto.GRAPH:
                graphs.append(attribute.g)
            graphs.extend(attribute.graphs)
    for value in values:
        value.doc_string = ""
        del value.metadata_props[:]


def save_torchscript(module: torch.jit.ScriptModule, path: Path, document: str) -> None:
    """Write a TorchScript archive without the members that hold source positions."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / path.name
        torch.jit.save(module, raw, _extra_files={KEY: document})
        rewrite_zip(raw, path, leave_out=(".debug_pkl",))
    assert_clean(path)


def save_exported(model: nn.Module, path: Path, x: Tensor, document: str) -> None:
    """Write a torch.export archive whose nodes carry no stack traces."""
    program = torch.export.export(
        model, (x[:3].clone(),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for note in ("stack_trace", "from_node", "source_fn_stack", "custom"):
                    node.meta.pop(note, None)
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / path.name
        torch.export.save(program, raw, extra_files={KEY: document})
        shutil.copyfile(raw, path)
    assert_clean(path)


def rewrite_zip(source: Path, target: Path, *, leave_out: tuple[str, ...]) -> None:
    """Copy an archive, uncompressed and undated, without members of some suffixes."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            if not item.filename.endswith(leave_out):
                new.writestr(zipfile.ZipInfo(item.filename), old.read(item))


def assert_clean(path: Path) -> None:
    """Refuse a file that tells where it was made."""
    blobs = [path.read_bytes()]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            blobs.extend(archive.read(item) for item in archive.infolist())
    for text in FORBIDDEN:
        if any(text in blob for blob in blobs):
            raise ValueError(f"{path.name} holds the machine path {text.decode()}")


def run(path: Path) -> Callable[[Tensor], dict[str, np.ndarray]]:
    """Return the saved file as a function from x to named arrays, read from disk."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda x: dict(
            zip(names, session.run(None, {"x": x.numpy()}), strict=True)
        )
    extra = {KEY: ""}
    if path.suffix == ".pt":
        module = torch.jit.load(path, _extra_files=extra)
    else:
        module = torch.export.load(path, extra_files=extra).module()
    if not yaml.safe_load(extra[KEY]):
        raise ValueError(f"{path.name} lost its contract")

    def forward(x: Tensor) -> dict[str, np.ndarray]:
        with torch.no_grad():
            out = module(x)
        named = out if isinstance(out, dict) else out._asdict()
        return {key: value.numpy() for key, value in named.items()}

    return forward


def compare(
    model: nn.Module,
    forward: Callable[[Tensor], dict[str, np.ndarray]],
    x: Tensor,
    label: str,
    batches: Sequence[int] = BATCHES,
) -> float:
    """Compare a saved file with the module at several batch sizes; return the worst."""
    worst = 0.0
    for size in batches:
        rows = x[torch.arange(size) % len(x)]
        with torch.no_grad():
            expected = model(rows)
        found = forward(rows)
        if list(found) != list(expected):
            raise ValueError(f"{label}: outputs {list(found)}, not {list(expected)}")
        for key, value in expected.items():
            if found[key].shape != tuple(value.shape):
                raise ValueError(f"{label}: {key} has shape {found[key].shape}")
            scale = 1 + float(value.abs().max())
            worst = max(worst, float(np.abs(found[key] - value.numpy()).max()) / scale)
    if worst > TOLERANCE:
        raise ValueError(f"{label} differs from the module by {worst:.1e}")
    return worst


def save_data(folder: Path, name: str, **arrays: Tensor | np.ndarray) -> None:
    """Write NAME.npz uncompressed; tensors become arrays of their own type."""
    np.savez(
        folder / f"{name}.npz",
        **{key: np.asarray(value) for key, value in arrays.items()},
    )
