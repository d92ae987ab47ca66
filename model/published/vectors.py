"""Instructions for `model.published.kernels` that a compiler left to itself does not choose.

A product is summed for `BLOCK` outputs at once, which lie side by side for each input: weights
are read in the order in which they lie, every vector of them serves several rows of inputs, and
each output adds its inputs one after the other. So a row alone and a row in company come to the
same bits, and company costs no second reading.

The compiler's own values have no types that could be named here.
"""

import inspect
from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir  # pyright: ignore[reportMissingTypeStubs]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES: Final = 16
CHAINS: Final = 4
"""Vectors summed side by side: an addition takes as many turns to finish."""
BLOCK: Final = LANES * CHAINS
_INDEX: Final = ir.IntType(64)
_SINGLE: Final = ir.FloatType()
_VECTOR: Final = ir.VectorType(_SINGLE, LANES)
_TOOLS: Final[Any] = cgutils


def _as_single(builder: Any, held: Any, lanes: int = 0) -> Any:  # noqa: ANN401
    """Write how held bits become single precision: one number, or a vector of them."""

    def shaped(kind: Any) -> Any:  # noqa: ANN401
        return ir.VectorType(kind, lanes) if lanes else kind

    if held.type == shaped(ir.HalfType()):
        return builder.fpext(held, shaped(_SINGLE))
    if held.type == shaped(ir.IntType(16)):
        wide = builder.zext(held, shaped(ir.IntType(32)))
        by = ir.Constant(wide.type, [16] * lanes if lanes else 16)
        return builder.bitcast(builder.shl(wide, by), shaped(_SINGLE))
    return held


def _kind(held: Any) -> Any:  # noqa: ANN401
    """Return what an array's bits stand for: bfloat16 stays bits, there being no such type."""
    return {types.uint16: ir.HalfType(), types.int16: ir.IntType(16)}.get(held, _SINGLE)


def _widening(context: Any, held: Any) -> Any:  # noqa: ANN401
    del context

    def write(target: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ANN401
        del target
        return _as_single(builder, builder.bitcast(given[0], _kind(signature.args[0])))

    return types.float32(held), write


def _narrowing(context: Any, single: Any, like: Any) -> Any:  # noqa: ANN401
    del context

    def write(target: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ANN401
        del target
        if signature.args[1] == types.uint16:
            return builder.bitcast(builder.fptrunc(given[0], ir.HalfType()), ir.IntType(16))
        return given[0]

    return like(single, like), write


def _blocking(rows: int) -> Callable[..., Any]:
    def typed(context: Any, weights: Any, x: Any, first: Any, made: Any) -> Any:  # noqa: ANN401
        del context, first

        def write(target: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ANN401
            held, inputs, sums = (
                target.make_array(signature.args[place])(target, builder, given[place])
                for place in (0, 1, 3)
            )
            length = builder.extract_value(held.shape, 0)
            first = builder.mul(given[2], length)
            begins = [
                builder.gep(inputs.data, [builder.add(first, builder.mul(length, _INDEX(row)))])
                for row in range(rows)
            ]
            bits = _kind(signature.args[0].dtype)
            weights = builder.bitcast(held.data, ir.VectorType(bits, LANES).as_pointer())
            _write_block(builder, length, weights, begins, sums.data)
            return target.get_dummy_value()

        return types.void(weights, x, types.int64, made), write

    return intrinsic(inspect.unwrap(typed))


def _write_block(builder: Any, length: Any, weights: Any, begins: list[Any], made: Any) -> None:  # noqa: ANN401
    """Write the sums of a block for each row that begins somewhere; `made` is (rows, BLOCK)."""
    none = ir.Constant(_VECTOR, None)
    sums: list[list[Any]] = [
        [_TOOLS.alloca_once_value(builder, none) for _ in range(CHAINS)] for _ in begins
    ]
    with _TOOLS.for_range(builder, length) as loop:
        inputs = [
            _everywhere(builder, builder.load(builder.gep(at, [loop.index]))) for at in begins
        ]
        for chain in range(CHAINS):
            place = builder.add(builder.mul(loop.index, _INDEX(CHAINS)), _INDEX(chain))
            held = builder.load(builder.gep(weights, [place]), align=2)
            single = _as_single(builder, held, LANES)
            for row, x in enumerate(inputs):
                product = builder.fmul(single, x, flags=("contract",))
                before = builder.load(sums[row][chain])
                builder.store(builder.fadd(before, product, flags=("contract",)), sums[row][chain])
    target = builder.bitcast(made, _VECTOR.as_pointer())
    for place, total in enumerate(one for row in sums for one in row):
        builder.store(builder.load(total), builder.gep(target, [_INDEX(place)]), align=4)


def _everywhere(builder: Any, number: Any) -> Any:  # noqa: ANN401
    """Write a vector of one number."""
    first = builder.insert_element(ir.Constant(_VECTOR, None), number, ir.IntType(32)(0))
    return builder.shuffle_vector(
        first, first, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    )


widen: Final[Callable[[Any], Any]] = intrinsic(inspect.unwrap(_widening))
"""A held number in single precision."""
narrow: Final[Callable[[Any, Any], Any]] = intrinsic(inspect.unwrap(_narrowing))
"""A number of single precision as the second is held: as it is, or rounded to half precision."""
block_of_one: Final = _blocking(1)
"""Write the sums of a block's weights, (inputs, BLOCK), times one row of inputs, (1, BLOCK)."""
block_of_four: Final = _blocking(4)
"""The same for four rows, from the one given on, (4, BLOCK)."""
