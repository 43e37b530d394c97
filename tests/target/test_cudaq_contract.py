"""Facts about CUDA-Q 0.16 that this package rests on.

A test of a misbehaviour fails when upstream repairs it: then a workaround of ours can go. Whatever
may end the process runs in a process of its own.
"""
# ruff: noqa: F821 - gates are names of the kernel language

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable

import cudaq
import numpy as np
import pytest
from cudaq import spin
from cudaq._experimental import CompileTarget, set_compile_target, set_runtime_endpoint

from cudaq_target import Pasqal, target
from cudaq_target.errors import OptionError
from cudaq_target.launch import redirect

pytestmark = pytest.mark.usefixtures("stock_target")

ANGLE = 0.25

PRELUDE = """
import cudaq
from cudaq import spin
MARK = "__cudaq_target_original__"

def stock(name):
    return getattr(getattr(cudaq, name), MARK)

"""

KERNELS = """
import cudaq

@cudaq.kernel
def plus(n: int):
    q = cudaq.qvector(n)
    h(q)

@cudaq.kernel
def returning(n: int) -> int:
    q = cudaq.qvector(n)
    x(q)
    total = 0
    for bit in mz(q):
        if bit:
            total += 1
    return total
"""


@cudaq.kernel
def plus(n: int):
    q = cudaq.qvector(n)
    h(q)


def original(name):
    return getattr(getattr(cudaq, name), redirect._MARK)


class Recorder:
    """An endpoint that keeps what it was called with."""

    is_simulator, is_remote, is_emulated, supports_jit = True, False, False, False

    def __init__(self):
        self.calls = []

    def sample(self, module, arguments, **options):
        # The arguments are a view of memory that lives as long as this call.
        self.calls.append((module, list(arguments), options))
        return cudaq.SampleResult({"00": options["shots_count"]}, annotations={"job": "7"})


class Failing(Recorder):
    """An endpoint that raises."""

    def sample(self, *_, **__):
        raise OptionError("seed", "not allowed", "Give another")


@pytest.fixture
def stock_pasqal():
    """CUDA-Q's own target of the same name, without our endpoint."""
    cudaq.cudaq_runtime.unregister_set_target_callback("cudaq_target.plugin")
    cudaq.cudaq_runtime.set_target("qpp-cpu")
    yield
    from cudaq_target import plugin

    plugin.register()


def install(endpoint):
    original("set_target")("pasqal")
    set_compile_target(CompileTarget())
    set_runtime_endpoint(endpoint)
    return endpoint


def run_python(tmp_path, code, **environ):
    """Run a program that has the kernels at hand; kernels need a source file."""
    (tmp_path / "user_kernels.py").write_text(KERNELS)
    program = tmp_path / "program.py"
    program.write_text(PRELUDE + textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, "-W", "ignore::FutureWarning", str(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environ},
    )


@pytest.mark.usefixtures("stock_pasqal")
def test_fact_1_the_built_in_target_refuses_gate_kernels():
    original("set_target")("pasqal")
    with pytest.raises(RuntimeError, match="Arbitrary kernel execution is not supported"):
        original("sample")(plus, 2)


def test_fact_2_a_yaml_of_the_same_name_changes_nothing(tmp_path):
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "pasqal.yml").write_text('name: pasqal\ndescription: "shadow"\n')
    done = run_python(
        tmp_path,
        f"""
        cudaq.register_backend_path({str(tmp_path)!r})
        stock("set_target")("pasqal")
        print(cudaq.get_target().description)
        """,
    )
    assert done.stdout.strip() == "CUDA-Q target for pasqal.", done.stderr


@pytest.mark.usefixtures("stock_pasqal")
def test_fact_3_a_python_endpoint_receives_quake_and_its_annotations_come_back():
    recorder = install(Recorder())
    result = original("sample")(plus, 2, shots_count=30)
    ((module, arguments, options),) = recorder.calls
    assert "quake.h" in str(module.mlir_module)
    assert module.name.startswith("plus")
    assert arguments == [2]
    assert options == {"shots_count": 30, "explicit_measurements": False}
    assert result.annotations == {"job": "7"}


def test_fact_4_the_entry_point_runs_before_all_public_names_are_bound(tmp_path):
    (tmp_path / "probe.py").write_text(
        textwrap.dedent(
            """
            import importlib.metadata, sys
            names = ["sample", "set_target", "reset_target", "PyKernelDecorator", "cudaq_runtime",
                     "register_set_target_callback", "set_random_seed", "set_noise", "evolve"]
            class Probe:
                name = "probe"
                def load(self):
                    return self.look
                def look(self):
                    module = sys.modules["cudaq"]
                    print([name for name in names if name in vars(module)])
                    print(hasattr(module.cudaq_runtime, "register_set_target_callback"))
            importlib.metadata.entry_points = lambda **_: [Probe()]
            import cudaq
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(tmp_path / "probe.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    bound = ["sample", "set_target", "reset_target", "PyKernelDecorator", "cudaq_runtime"]
    assert done.stdout.splitlines() == [str(bound), "True"], done.stderr


def test_facts_4_and_9_importing_warns_only_of_what_cudaq_says_itself(tmp_path):
    (tmp_path / "importing.py").write_text(
        textwrap.dedent(
            """
            import warnings
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                import cudaq
            for warning in caught:
                print(warning.category.__name__, str(warning.message)[:11])
            from cudaq_target import target
            cudaq.set_target("pasqal")
            print(target.active() is not None)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "importing.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == ["FutureWarning The CUDA-Q ", "True"]
    assert done.stderr == ""


def test_fact_5_cudaq_swallows_keywords_and_hands_none_to_the_callback():
    original("set_target")("pasqal", anything=1)
    seen = []
    cudaq.register_set_target_callback(seen.append, "contract")
    cudaq.unregister_set_target_callback("contract")
    assert [name for name in dir(seen[0]) if "arg" in name or "conf" in name] == []
    with pytest.raises(OptionError, match="option 'anything': unknown option"):
        cudaq.set_target("pasqal", anything=1)
    with pytest.raises(TypeError, match="Unsupported target type"):
        original("set_target")(Pasqal())
    cudaq.set_target(Pasqal(shots=3))
    assert target.active().options.shots == 3


@pytest.mark.parametrize(
    "call",
    [
        "stock('sample_async')(plus, 2).get()",
        "stock('observe_async')(plus, spin.z(0), 2).get()",
        "stock('get_state_async')(plus, 2).get()",
        "stock('run_async')(returning, 2).get()",
    ],
)
def test_fact_6_asynchronous_launches_on_an_endpoint_kill_the_process(tmp_path, call):
    done = run_python(
        tmp_path,
        f"""
        from user_kernels import plus, returning
        cudaq.set_target("pasqal")
        print("before", flush=True)
        {call}
        print("after", flush=True)
        """,
    )
    assert done.stdout == "before\n"
    assert done.returncode < 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run", "Unsupported policy: 'run'"),
        ("get_state", "Policy 'extract-state' is not supported"),
        ("draw", "Policy 'tracer' is not supported"),
        ("get_unitary", "Policy 'tracer' is not supported"),
        ("estimate_resources", "Unsupported policy: 'resource-count'"),
    ],
)
def test_fact_6_other_policies_are_refused_on_an_endpoint(name, message):
    @cudaq.kernel
    def one() -> bool:
        q = cudaq.qubit()
        x(q)
        return mz(q)

    kernel, arguments = (one, ()) if name == "run" else (plus, (2,))
    cudaq.set_target("pasqal")
    with pytest.raises(RuntimeError, match=message):
        original(name)(kernel, *arguments)


@pytest.mark.usefixtures("stock_pasqal")
def test_fact_7_errors_of_an_endpoint_reach_the_user_unchanged():
    install(Failing())
    with pytest.raises(OptionError, match=r"seed: not allowed\. Give another"):
        original("sample")(plus, 2)


def test_fact_8_a_constructed_result_has_annotations_but_no_sequential_data():
    result = cudaq.SampleResult({"01": 3}, annotations={"shots": 3})
    assert result.annotations == {"shots": 3}
    assert result.get_sequential_data() == []


def test_fact_8_further_registers_enter_a_result_in_serialised_form():
    result = cudaq.SampleResult({"01": 3}, annotations={"job": "7"})
    result.deserialize([1, ord("a"), 1, 2, 2, 3])
    assert dict(result.items()) == {"01": 3}
    assert dict(result.get_register_counts("a").items()) == {"10": 3}
    assert result.annotations == {"job": "7"}
    assert result.get_total_shots() == 3


def test_fact_9_the_endpoint_path_logs_what_ours_does_not(tmp_path):
    code = """
    from user_kernels import plus
    cudaq.set_target("pasqal")
    {call}(plus, 2)
    """
    through = run_python(tmp_path, code.format(call="stock('sample')"))
    assert "get_noise is currently not supported" in through.stdout + through.stderr
    direct = run_python(tmp_path, code.format(call="cudaq.sample"))
    assert (direct.stdout, direct.stderr, direct.returncode) == ("", "", 0)


def test_operators_must_be_canonical_or_the_process_ends(tmp_path):
    done = run_python(
        tmp_path,
        """
        operator = spin.x(1) * spin.z(0) + spin.i(2)
        cudaq.ObserveResult(0.5, operator, cudaq.SampleResult())
        """,
    )
    assert done.returncode < 0
    assert "canonicalize" in done.stderr


def test_a_list_of_operators_loses_its_coefficients_on_the_simulator():
    @cudaq.kernel
    def zero():
        cudaq.qvector(1)

    cudaq.set_target("qpp-cpu")
    operator = 3.0 * spin.z(0)
    assert cudaq.observe(zero, operator).expectation() == pytest.approx(3.0)
    (listed,) = cudaq.observe(zero, [operator])
    assert listed.expectation() == pytest.approx(1.0)
    cudaq.set_target("pasqal")
    (listed,) = cudaq.observe(zero, [operator])
    assert listed.expectation() == pytest.approx(3.0)


def test_states_count_qubit_0_as_the_least_significant_bit():
    @cudaq.kernel
    def first():
        q = cudaq.qvector(3)
        x(q[0])

    cudaq.set_target("qpp-cpu")
    state = cudaq.get_state(first)
    assert abs(np.array(state)[0b001]) == pytest.approx(1.0)
    assert abs(state.amplitude("100")) == pytest.approx(1.0)


def test_the_broadcast_rules_are_where_we_take_them_from():
    from cudaq.runtime import utils

    assert getattr(utils, "__isBroadcast")(plus, [1, 2])
    assert getattr(utils, "__createArgumentSet")([1, 2]) == [(1,), (2,)]


RUNTIME = "cudaq.mlir._mlir_libs._quakeDialects"
PRIVATE = {
    "cudaq": "PyKernel PyKernelDecorator cudaq_runtime ptsbe",
    "cudaq._experimental": "CompileTarget CustomTarget set_compile_target set_runtime_endpoint",
    "cudaq._experimental.runtime_endpoint": "CompiledModule KernelArgs",
    "cudaq.dynamics.evolution": "evolve evolve_async",
    "cudaq.kernel.kernel_builder": "PyKernel",
    "cudaq.kernel.kernel_decorator": "PyKernelDecorator isa_kernel_decorator mk_decorator",
    "cudaq.kernel.utils": "globalRegisteredOperations globalRegisteredTypes",
    "cudaq.mlir.dialects.cc": "StructType",
    "cudaq.runtime.observe": "observe observe_async",
    "cudaq.runtime.ptsbe": "sample sample_async",
    "cudaq.runtime.run": "run run_async",
    "cudaq.runtime.sample": "sample sample_async _detail_check_conditionals_on_measure",
    "cudaq.runtime.state": "get_state get_state_async",
    "cudaq.runtime.utils": "__isBroadcast __createArgumentSet",
    f"{RUNTIME}.cudaq_runtime": (
        "__version__ initialize_cudaq launch_dem launch_observe launch_sample "
        "register_set_target_callback set_noise set_random_seed set_target unset_noise "
        "unregister_set_target_callback"
    ),
}


@pytest.mark.parametrize("module", PRIVATE)
def test_names_that_cudaq_does_not_document(module):
    """Every name that this package takes past the public ones; see also the tests above."""
    holder = importlib.import_module(module)
    assert [name for name in PRIVATE[module].split() if not hasattr(holder, name)] == []


def test_attributes_of_kernels():
    wanted = (
        "arg_types astModule formal_arity kernelFunction location name process_argument "
        "process_call_arguments qkeModule resolve_captured_arguments return_type uniqName"
    )
    assert [name for name in wanted.split() if not hasattr(plus, name)] == []
    assert (plus.formal_arity(), plus.name, plus.return_type) == (1, "plus", None)
    assert plus.uniqName.startswith("plus..0x")
    assert plus.process_call_arguments(3) == [3]
    assert list(plus.resolve_captured_arguments()) == []
    file, line = plus.location
    assert (str(file), line) == (__file__, plus.kernelFunction.__code__.co_firstlineno)


def test_attributes_of_built_kernels():
    from cudaq.kernel.kernel_decorator import isa_kernel_decorator, mk_decorator

    built = cudaq.make_kernel()
    built.qalloc(1)
    assert not isa_kernel_decorator(built)
    decorator = mk_decorator(built)
    assert isa_kernel_decorator(decorator)
    assert decorator.uniqName in str(built.qkeModule)


def test_registries_of_operations_and_classes():
    from cudaq.kernel.utils import globalRegisteredOperations, globalRegisteredTypes
    from cudaq.mlir.dialects import cc

    cudaq.register_operation("contract_gate", np.eye(2))
    assert "contract_gate" in globalRegisteredOperations
    assert not globalRegisteredTypes.isRegisteredClass("NoSuchClass")
    assert callable(globalRegisteredTypes.getClassAttributes)
    assert callable(cc.StructType.isinstance)
    assert callable(cc.StructType.getName)


def test_kernels_as_arguments_arrive_with_what_they_captured():
    @cudaq.kernel
    def applies(block: Callable[[cudaq.qview], None]):
        q = cudaq.qvector(1)
        block(q)

    @cudaq.kernel
    def turned(q: cudaq.qview):
        rx(ANGLE, q[0])

    (argument,) = applies.process_call_arguments(turned)
    assert argument.decorator.name == "turned"
    assert list(argument.resolved) == [ANGLE]


def test_a_change_of_target_clears_the_noise_model():
    noise = cudaq.NoiseModel()
    noise.add_all_qubit_channel("h", cudaq.PhaseFlipChannel(1.0))
    cudaq.set_target("density-matrix-cpu")
    cudaq.cudaq_runtime.set_noise(noise)
    cudaq.set_target("qpp-cpu")
    cudaq.set_target("density-matrix-cpu")

    @cudaq.kernel
    def twice():
        q = cudaq.qubit()
        h(q)
        h(q)

    assert dict(cudaq.sample(twice, shots_count=20).items()) == {"0": 20}
