"""The engines that are Python packages, as a worker process runs them.

Each names its package and has `load`, which prepares a request.
"""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

ALIGNMENT = 64


class Loaded(NamedTuple):
    """A problem that is ready: `run` is timed, `result` copies what it made."""

    run: Callable
    result: Callable
    # Arrays that the engine only has the addresses of.
    owners: tuple = ()


def aligned(array):
    """A copy whose first byte begins a cache line; engines lose time without."""
    buffer = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class OnnxRuntime:
    package = "onnxruntime"

    def __init__(self, threads):
        import onnxruntime

        self.module = onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads

    def load(self, request):
        providers = ["CPUExecutionProvider"]
        session = self.module.InferenceSession(request["model"], self.options, providers)
        (source,), (result,) = session.get_inputs(), session.get_outputs()
        value = self.module.OrtValue
        x = value.ortvalue_from_numpy(np.load(request["input"]))
        y = value.ortvalue_from_shape_and_type(result.shape, np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input(source.name, x)
        binding.bind_ortvalue_output(result.name, y)
        return Loaded(lambda: session.run_with_iobinding(binding), y.numpy)


class OpenVino:
    package = "openvino"

    def __init__(self, threads):
        import openvino

        self.module = openvino
        self.core = openvino.Core()
        self.settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }

    def load(self, request):
        compiled = self.core.compile_model(request["model"], "CPU", self.settings)
        infer = compiled.create_infer_request()
        x = aligned(np.load(request["input"]))
        infer.set_tensor(compiled.inputs[0], self.module.Tensor(x, shared_memory=True))
        return Loaded(
            lambda: infer.infer(share_outputs=True),
            lambda: infer.get_output_tensor().data.copy(),
            owners=(x,),
        )


class DeepSparse:
    package = "deepsparse"

    def __init__(self, threads):
        import deepsparse

        self.module = deepsparse
        self.threads = threads

    def load(self, request):
        # A batch size of None keeps the shapes of the file.
        engine = self.module.Engine(request["model"], batch_size=None, num_cores=self.threads)
        if engine.fraction_of_supported_ops < 1:
            raise ValueError("DeepSparse would leave operators to onnxruntime")
        x = [aligned(np.load(request["input"]))]
        return Loaded(lambda: engine.run(x, val_inp=False), lambda: engine.run(x)[0])


class Mkl:
    """Dense products through CBLAS."""

    package = "mkl"
    ROW_MAJOR, NO_TRANSPOSE = 101, 111

    def __init__(self, threads):
        (path,) = (Path(sys.prefix) / "lib").glob("libmkl_rt.so*")
        self.module = ctypes.CDLL(path)
        self.module.MKL_Set_Num_Threads(threads)

    def load(self, request):
        weights, x = (aligned(np.load(request[key])) for key in ("weights", "input"))
        (m, k), n = weights.shape, x.shape[1]
        y = aligned(np.zeros((m, n), np.float32))
        w_at, x_at, y_at = (_address(array) for array in (weights, x, y))
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        order, plain = self.ROW_MAJOR, self.NO_TRANSPOSE

        def vector():
            self.module.cblas_sgemv(order, plain, m, k, one, w_at, k, x_at, 1, zero, y_at, 1)

        def matrix():
            self.module.cblas_sgemm(
                order, plain, plain, m, n, k, one, w_at, k, x_at, n, zero, y_at, n
            )

        return Loaded(vector if n == 1 else matrix, y.copy, owners=(weights, x, y))


class MatrixDescription(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("mode", ctypes.c_int), ("diagonal", ctypes.c_int)]


class MklCsr(Mkl):
    """Sparse products through the inspector-executor interface."""

    NOT_TRANSPOSED, GENERAL = 10, 20
    EXPECTED_CALLS = 1000

    def load(self, request):
        weights, x = (aligned(np.load(request[key])) for key in ("weights", "input"))
        n = x.shape[1]
        y = aligned(np.zeros((len(weights), n), np.float32))
        x_at, y_at = _address(x), _address(y)
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        plain, order, calls = self.NOT_TRANSPOSED, self.ROW_MAJOR, self.EXPECTED_CALLS
        general = MatrixDescription(self.GENERAL)
        handle, arrays = self._matrix(weights)
        if n == 1:
            self._call("set_mv_hint", handle, plain, general, calls)
        else:
            self._call("set_mm_hint", handle, plain, general, order, n, calls)
        self._call("optimize", handle)

        def vector():
            self.module.mkl_sparse_s_mv(plain, one, handle, general, x_at, zero, y_at)

        def matrix():
            self.module.mkl_sparse_s_mm(
                plain, one, handle, general, order, x_at, n, n, zero, y_at, n
            )

        return Loaded(vector if n == 1 else matrix, y.copy, owners=(arrays, x, y))

    def _matrix(self, weights):
        """A handle, and the arrays it points to."""
        rows, columns = np.nonzero(weights)
        values = aligned(weights[rows, columns])
        columns = aligned(columns.astype(np.int32))
        ends = np.cumsum(np.bincount(rows, minlength=len(weights)))
        starts = aligned(np.concatenate([[0], ends]).astype(np.int32))
        start_at, column_at, value_at = (_address(a) for a in (starts, columns, values))
        end_at = ctypes.c_void_p(starts.ctypes.data + starts.itemsize)
        handle = ctypes.c_void_p()
        self._call(
            "s_create_csr",
            ctypes.byref(handle),
            0,  # the first index
            *weights.shape,
            start_at,
            end_at,
            column_at,
            value_at,
        )
        return handle, (starts, columns, values)

    def _call(self, name, *arguments):
        status = getattr(self.module, f"mkl_sparse_{name}")(*arguments)
        if status != 0:
            raise RuntimeError(f"mkl_sparse_{name} fails with {status}")


def _address(array):
    return ctypes.c_void_p(array.ctypes.data)


LIBRARIES = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "deepsparse": DeepSparse,
    "mkl": Mkl,
    "mkl-csr": MklCsr,
}
