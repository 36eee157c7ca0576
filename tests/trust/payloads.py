"""What a hostile folder may name: functions that do something, and where it may name them."""

from __future__ import annotations

import json
from typing import Any

Spec = dict[str, Any]


def payloads(marker: str) -> list[Spec]:
    """Descriptions of "classes" that leave a file called ``marker``, or import an odd module."""
    copied = {"src": "/etc/hostname", "dst": marker}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("os.system", {"command": f"touch {marker}"}),
        ("os.popen", {"cmd": f"touch {marker}"}),
        ("os.mkdir", {"path": marker}),
        ("os.makedirs", {"name": marker}),
        ("os.execvp", {"file": "touch", "args": ["touch", marker]}),
        ("subprocess.run", {"args": ["touch", marker]}),
        ("subprocess.call", {"args": ["touch", marker]}),
        ("subprocess.Popen", {"args": ["touch", marker]}),
        ("subprocess.getoutput", {"cmd": f"touch {marker}"}),
        ("runpy.run_path", {"path_name": "evil.py"}),
        ("runpy.run_module", {"mod_name": "evil"}),
        ("importlib.import_module", {"name": "evil"}),
        ("builtins.exec", {"object": f"open({marker!r}, 'w')"}),
        ("builtins.eval", {"source": f"open({marker!r}, 'w')"}),
        ("builtins.open", {"file": marker, "mode": "w"}),
        ("io.FileIO", {"file": marker, "mode": "w"}),
        ("ctypes.CDLL", {"name": "evil.so"}),
        ("logging.FileHandler", {"filename": marker}),
        ("logging.config.fileConfig", {"fname": "evil.ini"}),
        ("shutil.copyfile", copied),
        ("shutil.copytree", {"src": "/etc/default", "dst": marker}),
        ("shutil.move", {"src": "mine", "dst": marker}),
        ("tempfile.mkdtemp", {"prefix": marker, "dir": "."}),
        ("pathlib.Path.touch", {"self": marker}),
        ("sqlite3.connect", {"database": marker}),
        ("torch.hub.load", {"repo_or_dir": ".", "model": "evil", "source": "local"}),
        ("evil.Evil", {}),
        ("baselines.Evil", {}),
        ("this", {}),
        ("pty.spawn", {"argv": ["touch", marker]}),
        ("tokendrop.reducers.from_spec", {"spec": _spec("os.system", command=f"touch {marker}")}),
        ("tokendrop.models.model.load", {"path": "."}),
        ("tokendrop.files.make_folder", {"path": marker}),
        ("tokendrop.cli.main", {"arguments": ["predict", "--checkpoint", "."]}),
    ]
    return [_spec(path, **arguments) for path, arguments in calls]


def _spec(path: str, /, **arguments: Any) -> Spec:
    return {"class_path": path, "init_args": arguments}


def reducers(payload: Spec) -> dict[str, Any]:
    """Descriptions of a reducer that hold the payload, by where."""
    dact, chain = "tokendrop.reducers.dact_bert.DactBert", "tokendrop.reducers.chain.Chain"
    return {
        "itself": payload,
        "by name": payload["class_path"],
        "an argument": _spec(dact, halt_bias=payload),
        "an argument as text": _spec(dact, pooling=json.dumps(payload)),
        "an unknown argument": _spec(dact, extra=payload),
        "a part": _spec(chain, parts=[_spec("Dense"), payload]),
        "a part's argument": _spec(chain, parts=[_spec(dact, tau=payload)]),
        "the parts": _spec(chain, parts=payload),
        "the parts as text": _spec(chain, parts=json.dumps([payload])),
        "a list": _spec("PowerBert", configuration=[payload]),
        "the arguments": {"class_path": dact, "init_args": [payload]},
        "the name": {"class_path": payload, "init_args": {}},
    }
