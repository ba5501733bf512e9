"""Kernels that read channels in blocks of 8: oneDNN's jit:avx2, jit_1x1:avx2 and jit_dw:avx2.

Conditions and scratchpads are those of jit_avx2_conv_kernel_f32.cpp, jit_avx2_1x1_conv_kernel_f32.cpp and
jit_uni_dw_conv_kernel_utils.cpp (init_conf, init_scratchpad). Each function says what such a kernel takes, or
None where there is none for the shape.
"""

from __future__ import annotations

from math import prod

from modelsum.memory.cpu.avx2.reduction import barriers, sums_of_threads
from modelsum.memory.cpu.avx2.shape import FLOAT_BYTES, VECTOR, Kernel, Shape, booked, up
from modelsum.memory.cpu.machine import threads

_REGISTERS = 15
_LARGEST_SUMS = 1 << 21  # numbers

_WIDEST = 13  # of a filter, for the gradient of its weights
_PADS_OF_FIRST = 3
_FLAT = 3  # channels of an input that is read as it is for the gradient of the weight


def _padded(shape: Shape) -> bool:
    """Whether channels are filled up to whole blocks: not of several groups, nor the last dimension."""
    return shape.groups == 1 and not shape.channels_last


def _blocked(shape: Shape, inputs: int, outputs: int, scratch: int, *, flat: bool = False) -> Kernel:
    """A kernel on channels in blocks, or on channels that are the last dimension."""
    groups = shape.groups
    weight = FLOAT_BYTES * groups * up(outputs) * (inputs if flat else up(inputs)) * shape.taps
    if shape.channels_last:
        return Kernel(shape.source, weight, shape.results, scratch, False, True, False)
    source = shape.source if flat else shape.source_bytes(groups * inputs)
    return Kernel(source, weight, shape.result_bytes(groups * outputs), scratch, not flat)


def _padded_bias(shape: Shape) -> int:
    """A bias of whole blocks, where its channels are no whole blocks."""
    is_short = shape.bias and shape.outputs % VECTOR
    return booked(FLOAT_BYTES * shape.groups * up(shape.outputs)) if is_short else 0


# ---- any kernel size


def forward(shape: Shape) -> Kernel | None:
    """A forward pass."""
    flat = shape.inputs < VECTOR
    if flat and shape.inputs * shape.groups >= VECTOR:
        return None  # its weight would have to be laid out in both ways
    whole = shape.outputs % VECTOR == 0 and (flat or shape.inputs % VECTOR == 0)
    if not shape.is_covered or not (whole or _padded(shape) or shape.channels_last):
        return None
    (_, top, left), (_, down, step) = shape.padding, shape.stride
    if shape.kernel[2] > 7 and (top or left) and (step > 1 or down > 1):
        return None
    if not _fits_a_row(shape):
        return None
    if not _padded(shape):
        return _blocked(shape, shape.inputs, shape.outputs, 0, flat=flat)
    inputs = shape.inputs if flat else up(shape.inputs)
    return _blocked(shape, inputs, up(shape.outputs), _padded_bias(shape), flat=flat)


def _fits_a_row(shape: Shape) -> bool:
    """Whether the padding of a row is not wider than what is unrolled of it."""
    width, left, step = shape.result[2], shape.padding[2], shape.stride[2]
    unrolled = min(_PADS_OF_FIRST, width)
    if left > unrolled:
        return False

    def right(tail: int) -> int:
        return max(0, (width - tail - 1) * step + shape.extent[2] - shape.size[2] - left)

    tail = width % unrolled
    if right(tail) > unrolled * step and width // unrolled > 1:
        unrolled = min(right(tail) // step + tail, min(width, _REGISTERS // 2))
        if unrolled < max(left, right(width % unrolled)):
            return False
    return True


def input_gradient(shape: Shape) -> Kernel | None:
    """The gradient of the input."""
    dilated = zip(shape.dilation, shape.stride, strict=True)
    if any(by > 1 and step > 1 for by, step in dilated):
        return None
    deep, down, step = shape.stride
    if shape.inputs < VECTOR and shape.kernel[2] > 3 and step > 1:
        return None
    whole = shape.inputs % VECTOR == 0 and shape.outputs % VECTOR == 0
    if step != down or deep > 1 or not (whole or _padded(shape) or shape.channels_last):
        return None
    if not shape.is_covered or not _unrolls(shape):
        return None
    if not _padded(shape):
        return _blocked(shape, shape.inputs, shape.outputs, 0)
    return _blocked(shape, up(shape.inputs), up(shape.outputs), 0)


def _unrolls(shape: Shape) -> bool:
    """Whether some part of a row fits the registers, with what reaches over its ends."""
    step, width = shape.stride[2], shape.size[2]
    if step + 1 > _REGISTERS:
        return False
    left = max(0, (shape.extent[2] - 1 - shape.padding[2]) // step)
    blocks = -(-(up(shape.inputs) if _padded(shape) else shape.inputs) // VECTOR)
    best = unrolled = 0
    for together in range(1, 5):
        if blocks % together:
            continue
        for part in range(step, width + step, step):
            if part * together + part // step > _REGISTERS:
                break
            here = min(part, width)
            if left * step > here and here != width:
                continue
            products = -(-here // step) * together
            if products > best or (products == best and unrolled < here):
                best, unrolled = products, here
    if not best:
        return False
    tail, far = width % unrolled, shape.far_padding[2]
    right = max(0, (shape.extent[2] - 1 - far - tail) // step)
    if right * step > unrolled:
        return False
    return width <= unrolled or (unrolled % step == 0 and far + tail >= 0)


def weight_gradient(shape: Shape) -> Kernel | None:
    """The gradient of the weight."""
    flat = shape.inputs == _FLAT
    if (flat and shape.groups > 1) or (not flat and shape.inputs * shape.groups == _FLAT):
        return None
    behind = [max(0, far) for far in shape.far_padding]
    if shape.padding[0] or behind[0] or shape.is_dilated or shape.kernel[2] > _WIDEST:
        return None
    pads = zip(shape.extent[1:], shape.padding[1:], behind[1:], strict=True)
    if any(before >= span or after >= span for span, before, after in pads):
        return None
    whole = shape.outputs % VECTOR == 0 and (flat or shape.inputs % VECTOR == 0)
    if not (whole or _padded(shape) or shape.channels_last):
        return None
    deep, high, _ = shape.kernel
    if high > shape.size[1] or deep > shape.size[0] or shape.padding[1] >= high:
        return None
    pads_channels = _padded(shape)
    inputs = shape.inputs if flat or not pads_channels else up(shape.inputs)
    outputs = up(shape.outputs) if pads_channels else shape.outputs
    block = shape.inputs if flat else VECTOR
    scratch = _padded_bias(shape)
    blocks = shape.groups * -(-outputs // VECTOR)
    if shape.bias:
        scratch += _sums(VECTOR, blocks, shape.batch)
    scratch += _sums(shape.taps * block * VECTOR, blocks * -(-inputs // block), shape.batch * shape.result[0])
    return _blocked(shape, inputs, outputs, scratch, flat=flat)


def _sums(job: int, jobs: int, terms: int) -> int:
    shared = job, jobs, terms, _LARGEST_SUMS
    return sums_of_threads(*shared) + barriers(*shared)


# ---- 1 x 1


def pointwise_forward(shape: Shape) -> Kernel | None:
    """A forward pass of a 1 x 1 convolution."""
    if not _is_pointwise(shape):
        return None
    kept = _unstrided(shape, up(shape.inputs) // VECTOR)
    return _blocked(shape, up(shape.inputs), up(shape.outputs), _padded_bias(shape) + kept)


def pointwise_input_gradient(shape: Shape) -> Kernel | None:
    """The gradient of its input."""
    if not _is_pointwise(shape):
        return None
    return _blocked(shape, up(shape.inputs), up(shape.outputs), _unstrided(shape, 144 // VECTOR))


def pointwise_weight_gradient(shape: Shape) -> Kernel | None:
    """The gradient of its weight."""
    if not _is_pointwise(shape):
        return None
    last = shape.channels_last
    divides = not last or shape.outputs % VECTOR == 0
    outputs = up(shape.outputs) // VECTOR
    of_out = _divided(outputs, 32) if divides else outputs
    inputs = up(shape.inputs) // VECTOR
    divides = not last or (shape.inputs % VECTOR == 0 and prod(_unstrided_size(shape)) <= 1024)
    of_in = _divided(inputs, 17 if last else 9) if divides else inputs
    job = of_out * of_in * VECTOR * VECTOR
    jobs = -(-outputs // of_out) * -(-inputs // of_in)
    most = threads() * job * 8
    scratch = _padded_bias(shape) + _unstrided(shape, of_in)
    if shape.bias:
        shared = VECTOR, outputs, shape.batch, most
        scratch += sums_of_threads(*shared) + barriers(*shared)
    shared = job, jobs, shape.batch * prod(shape.result), most
    scratch += sums_of_threads(*shared, beside=True) + barriers(*shared)
    return _blocked(shape, up(shape.inputs), up(shape.outputs), scratch)


def _divided(blocks: int, most: int) -> int:
    """Halved, or divided by three, until there are few enough."""
    while blocks > most:
        by = next((by for by in (2, 3) if blocks % by == 0), None)
        if by is None:
            break
        blocks //= by
    return blocks


def _is_pointwise(shape: Shape) -> bool:
    if shape.groups > 1 or shape.taps > 1 or any(shape.padding):
        return False
    return _drops_positions(shape) or (not shape.is_strided and shape.size == shape.result)


def _drops_positions(shape: Shape) -> bool:
    """Whether positions that the stride leaves out are dropped first (oneDNN's rtus_driver)."""
    exact = (
        out * step == size for out, step, size in zip(shape.result, shape.stride, shape.size, strict=True)
    )
    return shape.is_strided and shape.dimensions == 2 and all(exact)


def _unstrided_size(shape: Shape) -> tuple[int, ...]:
    return shape.result if _drops_positions(shape) else shape.size


def _unstrided(shape: Shape, blocks: int) -> int:
    """For each thread, so many blocks of channels without these positions."""
    if not _drops_positions(shape):
        return 0
    channels = shape.inputs if shape.channels_last else blocks * VECTOR
    return booked(threads() * FLOAT_BYTES * channels * prod(shape.result))


# ---- depthwise


def depthwise_forward(shape: Shape) -> Kernel | None:
    """A forward pass of a depthwise convolution in two dimensions."""
    if not shape.is_depthwise or shape.dimensions != 2 or not shape.is_covered:
        return None
    width, left = shape.result[2], shape.padding[2]
    unrolled = min(4, width)
    tail = width % unrolled
    right = (width - tail - 1) * shape.stride[2] + shape.extent[2] - shape.size[2] - left
    if max(left, right) > unrolled:
        return None
    short = shape.bias and shape.groups % VECTOR and not shape.channels_last
    return _depthwise(shape, booked(FLOAT_BYTES * up(shape.groups)) if short else 0)


def depthwise_input_gradient(shape: Shape) -> Kernel | None:
    """The gradient of its input."""
    if not shape.is_depthwise or shape.dimensions != 2 or shape.is_dilated or not _is_filled(shape):
        return None
    return _depthwise(shape, 0)


def _is_filled(shape: Shape) -> bool:
    """Whether the result is all that there can be, taking unused input for no padding."""
    parts = zip(
        shape.size, shape.padding, shape.far_padding, shape.kernel, shape.stride, shape.result, strict=True
    )
    return all(
        (size + before + behind - kernel) // step + 1 == out
        for size, before, behind, kernel, step, out in parts
    )


def depthwise_weight_gradient(shape: Shape) -> Kernel | None:
    """The gradient of its weight: up to 3 wide."""
    if not shape.is_depthwise or shape.dimensions != 2 or shape.is_dilated:
        return None
    (_, high, wide), (_, down, step) = shape.kernel, shape.stride
    (_, top, left), behind = shape.padding, [max(0, far) for far in shape.far_padding]
    if wide > 3 or step > wide or not _is_within(shape, behind):
        return None
    pads = (top, high), (behind[1], high), (left, wide), (behind[2], wide)
    if any(pad > size // 2 for pad, size in pads) or shape.size[1] < high + -top % down:
        return None
    if any(pad > 1 and pad % down for pad in (top, behind[1])):
        return None
    channels = up(shape.groups)
    copies = _threads_of_depthwise(shape, channels // VECTOR) - 1
    scratch = booked(copies * FLOAT_BYTES * channels * shape.taps)
    if shape.bias:
        own = shape.groups if shape.channels_last else channels
        scratch += booked(copies * FLOAT_BYTES * own)
    return _depthwise(shape, scratch)


def _threads_of_depthwise(shape: Shape, blocks: int) -> int:
    """Threads that have sums of their own."""
    count, batch, rows = threads(), shape.batch, shape.result[1]
    if not shape.channels_last:
        return min(max(1, count // min(blocks, count)), batch)
    blocks = -(-blocks // min(blocks, 4, _REGISTERS // (2 * shape.kernel[2])))
    return max(
        of_blocks * of_batch * min(rows, count // of_blocks // of_batch)
        for of_blocks in range(1, min(blocks, count) + 1)
        for of_batch in range(1, min(batch, count // of_blocks) + 1)
    )


def _is_within(shape: Shape, behind: list[int]) -> bool:
    parts = zip(shape.size, shape.padding, behind, shape.kernel, shape.stride, shape.result, strict=True)
    return all(
        (size + before + after - kernel) // step + 1 == out
        for size, before, after, kernel, step, out in parts
    )


def _depthwise(shape: Shape, scratch: int) -> Kernel:
    channels = up(shape.groups)
    weight = FLOAT_BYTES * channels * shape.taps
    if shape.channels_last:
        return Kernel(shape.source, weight, shape.results, scratch, False, True, False)
    return Kernel(shape.source_bytes(channels), weight, shape.result_bytes(channels), scratch)
