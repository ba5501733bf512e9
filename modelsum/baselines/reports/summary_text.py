"""The report in the JSON of a summary, as `modelsum show --format json` writes it."""

from __future__ import annotations

from modelsum.baselines.reports.json_place import Place
from modelsum.baselines.reports.report import MEMORY_TOTALS, Case, Report, ReportRow, forward_backward_bytes
from modelsum.summary import CONVENTION, Input


def report_of_summary(place: Place) -> Report:
    """The report of a summary's JSON. Raises ReportError where it is none, or its forward did not finish."""
    if not place.key("executed").flag():
        raise place.key("executed").error("the forward did not finish", "A report is of a whole model.")
    memory = place.key("memory") if place.key("memory").value is not None else None
    totals = _totals(place) | (_memory_totals(memory) if memory else {})
    knows_saved = "saved_for_backward_bytes" in totals
    convention = place.optional("convention")
    return Report(
        case=_case(place, memory),
        totals=totals,
        rows=tuple(_row(layer, knows_saved) for layer in place.key("layers").items()),
        uncounted_ops=place.key("uncounted_ops").mapping(Place.whole),
        convention=convention.mapping(Place.whole) if convention else dict(CONVENTION),
        versions=place.key("made_with").mapping(Place.string),
    )


def _case(place: Place, memory: Place | None) -> Case:
    model = place.key("model")
    arguments = model.optional("arguments")
    return Case(
        model=model.key("spec").or_null(Place.string) or model.key("class").string(),
        source=model.key("source").string(),
        arguments=arguments.object() if arguments else {},
        inputs=tuple(map(input_of, place.key("inputs").items())),
        batch=place.key("batch").or_null(Place.whole),
        mode=place.key("mode").string(),
        dtype=place.key("dtype").string(),
        memory={"target": memory.key("target").string()} | memory.key("assumptions").mapping(Place.string)
        if memory
        else None,
    )


def input_of(place: Place) -> Input:
    """One input tensor, of a summary or of a report."""
    place.only(("name", "shape", "dtype"))
    shape = tuple(size.whole() for size in place.key("shape").items())
    return Input(place.key("name").or_null(Place.string), shape, place.key("dtype").string())


def _totals(place: Place) -> dict[str, int]:
    totals, sizes = place.key("totals"), place.key("torchsummary")
    same = (
        "params",
        "trainable_params",
        "packed_params",
        "param_bytes",
        "buffers",
        "buffer_bytes",
        "macs",
        "input_bytes",
        "module_calls",
    )
    return {name: totals.key(name).whole() for name in same} | {
        "torchsummary_rows": sizes.key("rows").whole(),
        "forward_backward_bytes": sizes.key("forward_backward_bytes").whole(),
        "torchsummary_total_bytes": sizes.key("total_bytes").whole(),
    }


def _memory_totals(memory: Place) -> dict[str, int]:
    totals = {
        name: memory.key(name).or_null(Place.whole)
        for name in MEMORY_TOTALS
        if not name.startswith("process_")
    }
    process = memory.key("process_bytes")
    if process.value is not None:
        least, most = (size.whole() for size in process.items())
        totals |= {"process_least_bytes": least, "process_most_bytes": most}
    return {name: figure for name, figure in totals.items() if figure is not None}


def _row(place: Place, knows_saved: bool) -> ReportRow:
    attributes = place.optional("attributes")
    counted = place.key("counted_params").whole()
    trainable = place.optional("counted_trainable_params")
    # Null on the rows of modules that saved nothing, and of later calls: all of a module is on its first.
    saved = place.optional("own_saved_bytes")
    saved_bytes = saved.or_null(Place.whole) if saved else None
    return ReportRow(
        path=place.key("path").string(),
        class_name=place.key("class").string(),
        call=place.key("call").whole(),
        params=counted,
        trainable_params=(
            trainable.whole() if trainable else min(place.key("own_trainable_params").whole(), counted)
        ),
        macs=place.key("own_macs").whole(),
        forward_backward_bytes=forward_backward_bytes(
            place.key("output_elements").whole(),
            place.key("exit_order").value is not None
            and place.key("parent").value is not None
            and not place.key("container").flag(),
        ),
        saved_for_backward_bytes=(saved_bytes or 0) if knows_saved else None,
        output_shapes=place.key("output_shapes").value,
        attributes=attributes.object() if attributes else {},
    )
