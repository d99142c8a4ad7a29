"""The real trainer in which torch's collectives of objects raise: they unpickle whatever a socket hands them.

`python -m tests.plain_trainer --spec run.json`.
"""

import runpy

import torch.distributed as dist


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a pickle between ranks")


if __name__ == "__main__":
    names = [name for name in dir(dist) if name.endswith(("_object", "_object_list"))]
    assert len(names) >= 4, names
    for name in names:
        for module in (dist, dist.distributed_c10d):
            setattr(module, name, refuse)
    runpy.run_module("trainer", run_name="__main__", alter_sys=True)
