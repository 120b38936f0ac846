"""The benchmark suite: its cases, and what it says of those that cannot run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import tilegrad as tg

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import bench_fit
import bench_shapes
import cases
import report
import shapes
import suite
from cases import networks
from machine import Machine


@pytest.fixture
def machine():
    ticks = iter(range(1000))
    return Machine(lambda: float(next(ticks)), megabytes=1)


def test_names_are_unique_and_goals_positive():
    found = cases.all_cases()
    assert len({case.name for case in found}) == len(found) > 40
    assert all(case.goal > 0 and case.flops >= 0 and case.bytes >= 0 for case in found)


@pytest.mark.parametrize(
    ("build", "parameters"), [(networks.resnet20, 272_474), (networks.resnet18, 11_173_962)]
)
def test_networks_are_the_published_ones(build, parameters):
    for m in (tg, torch):
        assert sum(p.numel() for p in build(m).parameters()) == parameters


def test_a_missing_operation_does_not_stop_the_run(machine):
    def make(m, convert):
        return m.operation_of_the_future

    result = suite.measure(cases.Case("future", make, 2.0), machine, 0.01)
    assert result.ours is None and "operation_of_the_future" in result.missing
    run = {"flops": 1e9, "bandwidth": 1e9, "isa": "avx2", "torch": "2", "results": [result]}
    text = report.markdown({1: run}, {"tilegrad": 10.0, "torch": 20.0})
    assert "| future | missing: AttributeError" in text and "0 of 1 goals" in text
    assert "tilegrad 10 MB, PyTorch 20 MB" in text


def test_a_case_is_measured_and_reported(machine):
    calls = []

    def make(m, convert):
        x = m.ones(4)
        return lambda: calls.append(m) or x + x

    case = cases.Case("sum", make, 0.5, flops=8.0, images=False)
    result = suite.measure(case, machine, 0.01)
    assert {tg, torch} == set(calls)
    # Every reading of the clock is a second later, so both take the same time per round.
    assert result.ours > 0 and result.torch > 0 and result.ratio > 0
    result.set_shares(flops=16.0 / result.ours, bandwidth=1.0)
    assert result.share == pytest.approx(0.5) and result.share_of == "FMA"
    run = {"flops": 1e9, "bandwidth": 1e9, "isa": "avx2", "torch": "2", "results": [result]}
    assert "50 % FMA" in report.markdown({1: run, 2: run}, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.234e-6, "1.23 us"), (45.6e-6, "45.6 us"), (0.789, "789 ms"), (None, "")],
)
def test_durations_have_three_digits(seconds, text):
    assert report.duration(seconds) == text


def test_other_shapes_are_named_once_and_can_be_run():
    found = [case for kind in shapes.all_shapes().values() for case in kind]
    assert len({case.name for case in found}) == len(found) > 150
    for case in found[:: len(found) // 12]:  # some of every kind
        for m in (tg, torch):
            case.make(m, lambda x: x)()


def test_the_page_of_other_shapes_names_losses_first():
    ahead = report.Result("ahead", ours=1e-3, torch=2e-3, ratio=2.0)
    behind = report.Result("behind", ours=4e-3, torch=2e-3, ratio=0.5)
    missing = report.Result("future", missing="AttributeError: future")
    text = bench_shapes.markdown({"Kind": [ahead, behind, missing]}, "amd-avx2", "Some machine.")
    assert "1 of 2 cases" in text and "geometric mean of the ratios is 1.00" in text
    assert "Slower: behind (0.50)." in text
    assert "| ahead | 1.00 ms | 2.00 ms |  | **2.00** |" in text
    assert "| future | missing: AttributeError: future | | | |" in text


@pytest.mark.parametrize("name", bench_fit.CASES)
def test_loops_by_hand_and_fit_train_the_same_network(name):
    plain, layered, shape, _ = bench_fit.CASES[name]
    made = []

    def kept(make):
        made.append(make())
        return made[-1]

    with_nn, with_layers, by_fit = bench_fit.epochs(
        (lambda: kept(plain), lambda: kept(layered), shape, 2), 0
    )
    model, layers = made
    for program, network in ((with_nn, model), (with_layers, layers)):
        before = [parameter.detach().clone() for parameter in network.parameters()]
        program()
        assert not any(map(tg.equal, before, network.parameters()))
    assert len(by_fit().history["accuracy"]) == 1 and int(layers.optimizer.iterations) == 4
    assert layers.count_params() == sum(parameter.numel() for parameter in before)


def test_the_table_of_what_fit_costs(monkeypatch):
    small = (bench_fit.small_by_hand, bench_fit.small_in_keras, (8,), 2)
    monkeypatch.setattr(bench_fit, "CASES", {"tiny": small})
    monkeypatch.setattr(bench_fit.os, "sched_getaffinity", lambda process: {0, 1})
    threads = tg.get_num_threads()
    try:
        lines = bench_fit.table(rounds=2).splitlines()
    finally:
        tg.set_num_threads(threads)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:2] for row in rows] == [["tiny", "1"], ["tiny", "2"]]
    for _, _, *times, more, more_than_layers, _ in rows:
        assert min(map(float, times)) > 0 and len(times) == 3
        assert more.endswith("%") and more_than_layers.endswith("%")
