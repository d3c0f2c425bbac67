"""Ray's interface as far as clothseg uses it, in this process: its workers die only where a test says so."""

import json
import logging
import sys
from types import SimpleNamespace


class RayError(Exception):
    """Stands for `ray.exceptions.RayError`."""


class LocalRay:
    """What `import ray` gives in the tests that start no cluster."""

    def __init__(self):
        self.resources = {"CPU": 2.0}
        """What the cluster has."""
        self.fatal = ""
        """A worker dies of every chunk with a photo whose source ends so."""
        self.error = None
        """Raised in place of every result."""
        self.is_busy = False
        """Whether a first slot has to be waited for."""
        self.passes = []
        """(chunks at a worker at a time, numbers of the photos in each chunk) of each pass."""
        self.joined = []
        """The addresses that were joined, None once it was left."""
        self.exceptions = SimpleNamespace(RayError=RayError)
        self.util = SimpleNamespace(annotations=SimpleNamespace(RayDeprecationWarning=DeprecationWarning))
        context = SimpleNamespace(get_current=SimpleNamespace)
        self.data = SimpleNamespace(DataContext=context, ActorPoolStrategy=SimpleNamespace, from_items=self._from_items)

    def install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", self)
        monkeypatch.setitem(sys.modules, "ray.data", self.data)
        return self

    def is_initialized(self):
        return bool(self.joined) and self.joined[-1] is not None

    def init(self, address, **_):
        if self.error is not None:
            raise self.error
        self.joined.append(address)

    def shutdown(self):
        self.joined.append(None)

    def cluster_resources(self):
        return self.resources

    def put(self, value):
        return SimpleNamespace(get=lambda: value)

    def get(self, reference):
        return reference.get()

    def wait(self, references, timeout):
        return ([], references) if self.is_busy else (references, [])

    def remote(self, **resources):
        assert resources == {"num_cpus": 1, "num_gpus": 0}

        def call(function, arguments):
            if self.error is not None:
                raise self.error
            return function(*(one.get() if hasattr(one, "get") else one for one in arguments))

        return lambda function: SimpleNamespace(
            remote=lambda *arguments: SimpleNamespace(get=lambda: call(function, arguments))
        )

    def _from_items(self, rows, *, override_num_blocks):
        assert override_num_blocks == len(rows), "each chunk is lost or done on its own"
        return SimpleNamespace(
            map_batches=lambda kind, *, compute, fn_constructor_args, **_: SimpleNamespace(
                iter_batches=lambda **_: self._batches(rows, kind, compute, fn_constructor_args)
            )
        )

    def _batches(self, rows, kind, compute, arguments):
        """Yield what the workers return; nothing of a lost chunk and of those that its worker had beside it."""
        if self.error is not None:
            raise self.error
        chunks = [json.loads(row["chunk"])["photos"] for row in rows]
        at_worker = compute.max_tasks_in_flight_per_actor
        self.passes.append((at_worker, [tuple(photo["number"] for photo in chunk) for chunk in chunks]))
        worker, num_lost = None, 0
        for row, chunk in zip(rows, chunks, strict=True):
            if self.fatal and any(photo["source"].endswith(self.fatal) for photo in chunk):
                logging.getLogger("ray.data").error("lost", exc_info=RayError("The actor died.\n\nIt was killed.\n"))
                worker, num_lost = None, at_worker
            if num_lost:
                num_lost -= 1
                continue
            worker = worker or kind(*arguments)
            yield worker({"chunk": [row["chunk"]]})
