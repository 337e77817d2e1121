"""Configurations are read as MONAI reads them where no code is needed, and nothing in them is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.untrusted.config_file import read_config
from SegHiResCAMLib.engine.models.untrusted.resolver import Config, ConfigComponent, Unsupported

LITERALS: dict[str, Any] = {
    "highres": True,
    "bundle_root": ".",
    "sizes": {"roi": [96, 64, 32], "scale": 1.5},
    "name": "model.pt",
    "zero": 0,
    "label_names": {"spleen": 1, "background": 0},
    "steps": [{"a": 1}, {"b": 2}],
}


@pytest.mark.parametrize(
    "value",
    [
        "@highres",
        "@sizes",
        "@sizes#roi#1",
        "@sizes::roi::1",
        "%sizes::roi",
        "$@sizes::roi",
        ["@name", {"inner": "@sizes::scale"}],
        "$[1.5, 1.5, 1.5] if @highres else [3.0, 3.0, 3.0]",
        "$[1.5, 1.5, 1.5] if not @highres else [3.0, 3.0, 3.0]",
        "$@bundle_root + '/models/' + @name",
        "$@sizes::scale * 2 - 1",
        "$-(@sizes::scale + 3) // 2",
        "$@sizes::roi + [1]",
        "$@zero or @sizes::scale",
        "$@highres and @zero",
        "$@sizes::scale >= 1.5",
        "$None",
        "$True",
        "$monai.utils.CommonKeys.IMAGE",
        "$torch.float32",
        "somebody@hospital",
        "100 %",
        "$@sizes::roi if @sizes::scale == 1.5 else 'else'",
        "$len(@sizes::roi)",
        "$len(@label_names) + 1",
        "$len(@name)",
        "$max(@sizes::roi) - min(@sizes['roi'])",
        "$int(@sizes::scale * 10) % 4",
        "$float(@sizes::roi::0) / 7.0",
        "$@sizes['roi'][-1]",
        "$@sizes::roi[:2] + @sizes::roi[::2]",
        "$[2] * (len(@sizes::roi) - 1)",
        "$list((96,) * 3)",
        "$2 ** 4",
        "$0 < @sizes::scale <= 2 < 3",
        "$'roi' in @sizes and @zero is not None",
        "$list(@label_names.keys())",
        "$sum(@label_names.values())",
        "$sorted(@sizes::roi)",
        "$round(@sizes::scale)",
        "$abs(-3)",
        "$list(range(1, len(@sizes::roi) + 1))",
        "$str(@zero)",
        "$os.path.join(@bundle_root, 'models', @name)",
        "$@steps[:1] + @steps[1:]",
        "${'a': len(@sizes)}['a']",
    ],
)
def test_values_that_need_no_code_are_those_that_monai_resolves(value: object) -> None:
    content = {**LITERALS, "asked": value}
    expected = ConfigParser({**LITERALS, "asked": value}, globals={"os": "os"}).get_parsed_content("asked")
    assert Config(content, "inference.json").resolve("asked") == expected


@pytest.mark.parametrize(
    "expression",
    [
        "$open('{trap}', 'w')",
        "$__import__('os').system('touch {trap}')",
        "$[open('{trap}', 'w') for _ in [1]]",
        "$(lambda: open('{trap}', 'w'))()",
        "$@highres.__class__",
        "$@sizes['spacing']",
        "$@sizes.clear()",
        "$@name.upper()",
        "$len.__call__(@name)",
        "$getattr(@sizes, 'clear')",
        "$max(*@sizes['roi'])",
        "$len(range(1000000000000)) + [0]",
        "$[[[0] * 1000] * 1000] * 1000",
        "$str([['x' * 1, 'y'] * 999] * 999)",
        "$(-8) ** 0.5",
        "$10 ** 1000000",
        "$10.0 ** 60 ** 2",
        "$eval('1')",
        '$f\'{{open("{trap}", "w")}}\'',
        "$import os; os.mkdir('{trap}')",
        "$'x' * 1000000000",
        "$9999999999 * 9999999999 * 9999999999",
        "$2 ** 100",
        "$[0] * 100000",
        "$'%s' % @name",
        "$@name + 1",
        "$1 / @zero",
        "$'@name'",
        "$" + "(" * 400 + "1" + ")" * 400,
        "$" + "-" * 5000 + "1",
        "$@missing + 1",
        "$@network",
        "%other.json::network",
        "@##name",
    ],
)
def test_what_needs_code_is_refused_when_needed_and_nothing_runs(expression: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    content = {
        **LITERALS,
        "asked": [1, {"deep": expression.replace("{trap}", str(trap)).replace("{{", "{").replace("}}", "}")}],
    }
    config = Config(content, "inference.json")
    value = config.resolve("asked")
    assert isinstance(value[1]["deep"], Unsupported)
    with pytest.raises(EngineError, match=r"inference\.json.*asked::1::deep.*Ask the model's author") as refusal:
        config.need(value)
    assert refusal.value.code in ("bundle-expression", "bundle-reference")
    assert not trap.exists()


def test_components_keep_their_arguments_and_lose_the_keys_that_are_none() -> None:
    content = {
        "channels": 4,
        "list": [
            {"_target_": "UNet", "_desc_": "the network", "_requires_": "$import os", "out_channels": "@channels"},
            {"_target_": "Off", "_disabled_": True},
            {"_target_": "OffByReference", "_disabled_": "$not @channels == 5"},
            {"_target_": "a.b.On", "_disabled_": False},
        ],
    }
    resolved = Config(content, "inference.json").resolve("list")
    assert resolved == [
        ConfigComponent("UNet", {"out_channels": 4}, "list::0"),
        ConfigComponent("a.b.On", {}, "list::3"),
    ]
    assert resolved[1].name == "On"


def test_a_network_moved_to_a_device_is_the_network() -> None:
    content = {"device": "$torch.device('cuda:0')", "net": {"_target_": "UNet"}, "network": "$@net.to(@device)"}
    assert Config(content, "inference.json").resolve("network") == ConfigComponent("UNet", {}, "net")


@pytest.mark.parametrize("mode", ["callable", "debug"])
def test_modes_that_do_not_build_the_component_are_refused(mode: str) -> None:
    config = Config({"a": {"_target_": "UNet", "_mode_": mode}}, "inference.json")
    with pytest.raises(EngineError, match="a::_mode_"):
        config.need(config.resolve("a"))


@pytest.mark.parametrize(
    "content",
    [
        {"a": "@a"},
        {"a": "@b", "b": "@a"},
        {"a": {"x": [1, "@a"]}},
        {"a": "$@b + 1", "b": "$@a + 1"},
        {"a": "%a"},
        {"a": "%b::x", "b": "%a::x"},
    ],
)
def test_circles_are_refused(content: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=r"by itself"):
        Config(content, "inference.json").resolve("a")


def test_references_that_multiply_are_stopped() -> None:
    content: dict[str, Any] = {f"v{n}": [f"@v{n + 1}"] * 10 for n in range(30)}
    content["v30"] = 1
    with pytest.raises(EngineError, match="without end"):
        Config(content, "inference.json").resolve("v0")


def test_long_chains_of_references_are_stopped() -> None:
    content: dict[str, Any] = {f"v{n}": f"@v{n + 1}" for n in range(100_000)}
    with pytest.raises(EngineError, match="without end"):
        Config(content, "inference.json").resolve("v0")


def test_expressions_that_nobody_needs_do_no_harm() -> None:
    config = Config({"datalist": "$sorted(glob.glob('*'))", "roi": [1, 2]}, "inference.json")
    assert config.resolve("roi") == [1, 2]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.json", '{"a": 1, "a": 2}', "'a' is given twice"),
        ("a.yaml", "a: 1\na: 2\n", "'a' is given twice"),
        ("a.yaml", "1: x\n'1': y\n", "'1' is given twice"),
        ("a.json", '{"a": ' * 500 + "1" + "}" * 500, "nested"),
        ("a.json", "[" * 200_000, "nested"),
        ("a.yaml", "[" * 100_000, "nested"),
        ("a.yaml", "a: &a [*a]\n", "nested"),
        ("a.yaml", "a: &a {<<: {x: 1}}\n", "merge keys"),
        ("a.yaml", "a: !!set {x, y}\n", "type set"),
        ("a.yaml", "a: !!timestamp x\n", "cannot be read"),
        ("a.json", "[1, 2]", "not a mapping"),
        ("a.json", "", "cannot be read"),
        ("a.yaml", "a: [1, 2", "cannot be read"),
        ("a.json", '{"a": "' + "x" * 200_000 + '"}', "more than 100000 characters"),
        ("a.json", '{"a": "' + "x" * 600_000 + '"}', "larger than"),
        ("a.json", '{"a": [' + "1," * 150_000 + "1]}", "more than 100000 values"),
    ],
)
def test_malformed_descriptions_are_refused_in_one_message(
    name: str, text: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(EngineError, match=complaint) as refusal:
        read_config(tmp_path / name)
    assert refusal.value.code == "config-unreadable"
    assert str(tmp_path / name) in refusal.value.message
    assert "\n" not in refusal.value.message


def test_a_yaml_alias_bomb_is_stopped(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(EngineError, match="more than 100000 values"):
        read_config(tmp_path / "bomb.yaml")


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.mkdir ['{trap}']", "!!python/name:os.system", "!custom {a: 1}"]
)
def test_yaml_tags_build_nothing(tag: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    (tmp_path / "a.yaml").write_text(f"a: {tag.replace('{trap}', str(trap))}\n", encoding="utf-8")
    with pytest.raises(EngineError, match="could not determine a constructor"):
        read_config(tmp_path / "a.yaml")
    assert not trap.exists()


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff\xfe"}')
    with pytest.raises(EngineError, match="UTF-8"):
        read_config(tmp_path / "a.json")


def test_numbers_that_are_none_come_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [NaN, -Infinity, 1e999, 1.5]}', encoding="utf-8")
    assert read_config(tmp_path / "a.json") == {"a": ["nan", "-inf", "inf", 1.5]}


def test_yaml_and_json_of_the_same_content_read_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '\ufeff{"0": "background", "made": "2024-05-01", "b": [true, null, -2]}', encoding="utf-8"
    )
    (tmp_path / "a.yml").write_text("0: background\nmade: 2024-05-01\nb: [true, ~, -2]\n", encoding="utf-8")
    assert read_config(tmp_path / "a.json") == read_config(tmp_path / "a.yml")
