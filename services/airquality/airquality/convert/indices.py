"""What indices are made of, as protobuf messages."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache

from google.protobuf.timestamp_pb2 import Timestamp

from airquality.standards import Category, Formula, Requirement, Rule, Standard, Table, Version
from airquality.units import MOLAR_MASSES, Pollutant, Unit
from geomesh.airquality.v1 import airquality_pb2 as pb


def indices(standards: Iterable[Standard]) -> pb.ListIndicesResponse:
    """Returns the supported indices."""
    return pb.ListIndicesResponse(
        indices=[
            pb.Index(
                index=standard.index,
                name=standard.name,
                authority=standard.authority,
                versions=[_version(standard, each) for each in reversed(standard.versions)],
            )
            for standard in standards
        ]
    )


@cache
def category(found: Category) -> pb.Category:
    """Returns a band of an index."""
    return pb.Category(
        number=found.number, name=found.name, color=found.color, lowest=found.lowest, highest=found.highest
    )


@cache
def advice(standard: Standard, found: Category, dominant: Pollutant | None) -> pb.HealthAdvice:
    """Returns what to do about the air."""
    sensitive = "" if dominant is None else standard.sensitive_groups.get(dominant, "")
    return pb.HealthAdvice(**found.advice._asdict(), sensitive_groups_are=sensitive)


def _version(standard: Standard, found: Version) -> pb.IndexVersion:
    return pb.IndexVersion(
        index_version=found.id,
        effective_time=_time(found.effective),
        source=found.source,
        categories=map(category, standard.categories),
        tables=map(_table, found.tables),
        provisional=found.provisional,
        temperature_celsius=found.temperature_celsius,
        pressure_hpa=found.pressure_hpa,
        conversions=[
            pb.GasConversion(pollutant=_pollutant(each), micrograms_per_ppb=_micrograms_per_ppb(found, each))
            for each in MOLAR_MASSES
            if each in found.rules
        ],
        rules=[_rule(pollutant, rule) for pollutant, rule in sorted(found.rules.items())],
        requirement=_requirement(found.requirement),
        formula=None if found.formula is None else _formula(found.formula),
        several_pollutants=None if found.several is None else pb.SeveralPollutants(**found.several._asdict()),
        dominant_above=None if found.dominant_above < 0 else found.dominant_above,
        advice=[advice(standard, each, None) for each in standard.categories],
    )


def _micrograms_per_ppb(found: Version, gas: Pollutant) -> float:
    to_usual = found.to_usual[gas]
    ppb, micrograms = to_usual[Unit.PARTS_PER_BILLION], to_usual[Unit.MICROGRAMS_PER_CUBIC_METER]
    return round(float(ppb / micrograms), 6)


def _table(found: Table) -> pb.BreakpointTable:
    return pb.BreakpointTable(
        pollutant=_pollutant(found.pollutant),
        averaging_period=_period(found.averaging_period),
        unit=_unit(found.unit),
        truncate_to=found.precision,
        breakpoints=[pb.Breakpoint(**each._asdict()) for each in found.breakpoints],
        concentration_rounding=pb.Rounding.ValueType(found.concentration_rounding),
        index_rounding=pb.Rounding.ValueType(found.index_rounding),
        beyond=pb.Beyond.ValueType(found.beyond),
        index_beyond=found.index_beyond,
    )


def _rule(pollutant: Pollutant, found: Rule) -> pb.IndexRule:
    return pb.IndexRule(
        pollutant=_pollutant(pollutant),
        current=map(_period, found.current),
        also=map(_period, found.also),
        daily=map(_period, found.daily),
        coverage=found.coverage,
    )


def _requirement(found: Requirement) -> pb.IndexRequirement:
    return pb.IndexRequirement(
        minimum_count=max(found.minimum, len(found.all_of)),
        any_of=map(_pollutant, sorted(found.any_of)),
        all_of=map(_pollutant, sorted(found.all_of)),
    )


def _formula(found: Formula) -> pb.IndexFormula:
    return pb.IndexFormula(
        scale=found.scale,
        lowest=found.lowest,
        terms=[
            pb.FormulaTerm(
                pollutant=_pollutant(each.pollutant),
                averaging_period=_period(each.averaging_period),
                unit=_unit(each.unit),
                coefficient=each.coefficient,
            )
            for each in found.terms
        ],
    )


def _time(moment: datetime) -> Timestamp:
    return Timestamp(seconds=int(moment.timestamp()))


def _pollutant(code: int) -> pb.Pollutant.ValueType:
    return pb.Pollutant.ValueType(code)


def _period(code: int) -> pb.AveragingPeriod.ValueType:
    return pb.AveragingPeriod.ValueType(code)


def _unit(code: int) -> pb.Unit.ValueType:
    return pb.Unit.ValueType(code)
