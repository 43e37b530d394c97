"""Read the user's kernels, once each."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.errors import Source, UnsupportedKernelError
from cudaq_target.quake.arguments import Converter, described, plain_values
from cudaq_target.quake.lines import LineFinder
from cudaq_target.quake.reader import read_module, user_name

if TYPE_CHECKING:
    from cudaq_target.interpret.form import KernelForm

_READ: Final[weakref.WeakKeyDictionary[Any, tuple[Any, Any, KernelForm]]] = (
    weakref.WeakKeyDictionary()
)


def _entry(kernel: Any) -> tuple[Any, KernelForm]:
    """Return the decorator of a kernel and what was read; a changed kernel is read again."""
    found = _READ.get(kernel)
    if found is not None and found[0] is getattr(kernel, "qkeModule", None):
        return found[1], found[2]
    from cudaq.kernel.kernel_decorator import isa_kernel_decorator, mk_decorator  # noqa: PLC0415

    if isa_kernel_decorator(kernel):
        decorator, name = kernel, kernel.name
    else:
        decorator, name = mk_decorator(kernel), "kernel"
    module = kernel.qkeModule
    finder = _line_finder(decorator)
    form = read_module(
        module,
        decorator.uniqName,
        finders={user_name(name): finder} if finder else None,
        result_class=_result_class(decorator),
    )
    # A builder's decorator refers to no builder, so that the entry can be collected with it.
    held = decorator if decorator is not kernel else None
    _READ[kernel] = (module, held, form)
    return decorator, form


def _line_finder(decorator: Any) -> LineFinder | None:
    from cudaq.kernel.utils import globalRegisteredOperations  # noqa: PLC0415

    tree, location = getattr(decorator, "astModule", None), getattr(decorator, "location", None)
    if tree is None or not location:
        return None
    file, first_line = location
    return LineFinder(tree, str(file), int(first_line), globalRegisteredOperations)


def _result_class(decorator: Any) -> type | None:
    """Return the Python class of a returned struct."""
    from cudaq.kernel.utils import globalRegisteredTypes  # noqa: PLC0415
    from cudaq.mlir.dialects import cc  # noqa: PLC0415

    returned = decorator.return_type
    if returned is None or not cc.StructType.isinstance(returned):
        return None
    name = cc.StructType.getName(returned)
    if not globalRegisteredTypes.isRegisteredClass(name):
        return None
    found: type = globalRegisteredTypes.getClassAttributes(name)[0]
    return found


def read(kernel: Any) -> KernelForm:
    """Read a kernel; a second call is answered from memory.

    Args:
        kernel: Decorated function or builder kernel.

    Returns:
        The kernel as plain data.
    """
    return _entry(kernel)[1]


def arguments(kernel: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Prepare the arguments of a call, and add what the kernel captures from its surroundings.

    Args:
        kernel: Decorated function or builder kernel.
        args: Arguments of the user.

    Returns:
        One value for each argument of the entry function of `read(kernel)`.

    Raises:
        UnsupportedKernelError: The number of arguments is wrong or a value cannot be passed.
    """
    decorator, form = _entry(kernel)
    decorator = decorator or kernel
    source = Source(form.kernel)
    arity = decorator.formal_arity()
    if arity != len(args):
        raise UnsupportedKernelError(
            source,
            f"a call with {len(args)} arguments",
            f"the kernel takes {arity}",
            f"Pass {_parameters(decorator, form, arity)}." if arity else "Pass none.",
        )
    kinds = form.entry_function.argument_types
    converter = Converter(source, read)
    values = plain_values(args, kinds[:arity])
    if values is None:
        try:
            processed = decorator.process_call_arguments(*args)
        except RuntimeError as error:
            raise _refusal_of_arguments(decorator, form, args) from error
        values = tuple(map(converter.value_of, processed, kinds))
    captured = decorator.resolve_captured_arguments()
    pairs = zip(captured, kinds[arity:], strict=True)
    return values + tuple(converter.value_of(argument, kind) for argument, kind in pairs)


def _refusal_of_arguments(
    decorator: Any, form: KernelForm, args: tuple[Any, ...]
) -> UnsupportedKernelError:
    """Say which argument CUDA-Q does not accept, and what it must be."""
    kinds = form.entry_function.argument_types
    names = _names(decorator, len(args))
    for index, (argument, wanted) in enumerate(zip(args, decorator.arg_types(), strict=False)):
        try:
            decorator.process_argument(argument, wanted)
        except RuntimeError:
            remedy = "Pass such a value."
            if isinstance(argument, list) and kinds[index].kind != "sequence":
                remedy += " Only cudaq.sample and cudaq.observe broadcast over lists."
            return UnsupportedKernelError(
                Source(form.kernel),
                f"a call with {argument!r} for argument {index + 1}{names[index]}",
                f"it must be {described(kinds[index])}",
                remedy,
            )
    return UnsupportedKernelError(
        Source(form.kernel),
        "a call with these arguments",
        "CUDA-Q does not accept them",
        f"Pass {_parameters(decorator, form, len(args))}.",
    )


def _names(decorator: Any, arity: int) -> list[str]:
    """Return the names of the parameters in brackets; built kernels have none."""
    function = getattr(decorator, "kernelFunction", None)
    if function is None:
        return [""] * arity
    return [f" ({name})" for name in function.__code__.co_varnames[:arity]]


def _parameters(decorator: Any, form: KernelForm, arity: int) -> str:
    kinds = form.entry_function.argument_types
    pairs = zip(kinds, _names(decorator, arity), strict=False)
    return ", ".join(described(kind) + name for kind, name in pairs)
