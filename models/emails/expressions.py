"""The part of Jinja that may be written in an email, and what is wrong with a text beyond it.

Three walls, each enough by itself for what it is there for:

1. Only what is listed here can be written: variables, conditions, one loop deep, a few filters.
   There are no calls, no macros, no `range`, no powers: nothing can run for ever or grow.
2. The variables of the kind are known, with their fields: a name that is not among them is refused
   when the text is checked, not when an email is due.
3. What runs is Jinja's immutable sandbox, which here reads fields of variables and nothing else,
   and escapes every value in HTML.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from jinja2 import TemplateSyntaxError, nodes

from models.emails.sandbox import Sandbox, Shape, fields_of
from models.emails.variables import Variables

LOOPS_DEEP_MAX = 1

Scope = Mapping[str, Shape]
"""The variables that a text may name, with what they are."""


_ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.CondExpr,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Filter,
    nodes.Test,
    nodes.Keyword,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Neg,
    nodes.Concat,
)
_NAMES = {
    nodes.Call: "a call",
    nodes.Pow: "a power",
    nodes.Macro: "a macro",
    nodes.CallBlock: "a call block",
    nodes.FilterBlock: "a filter block",
    nodes.Include: "an include",
    nodes.Import: "an import",
    nodes.FromImport: "an import",
    nodes.Extends: "extends",
    nodes.Block: "a block",
    nodes.Assign: "set",
    nodes.AssignBlock: "set",
    nodes.ScopedEvalContextModifier: "autoescape",
    nodes.Slice: "a slice",
    nodes.Dict: "a dictionary",
}
_CAN = "a text can have variables, if, for and filters"


def find_faults(sandbox: Sandbox, source: str, scope: Scope) -> list[str]:
    """Return what is wrong with a text as a template over these variables."""
    tree, faults = _parse(sandbox, source)
    if tree is None:
        return faults
    return list(dict.fromkeys(_Reading(sandbox).statements(tree.body, scope, 0)))


def read_expression(sandbox: Sandbox, source: str, scope: Scope) -> tuple[Shape, list[str]]:
    """Return what an expression comes to, and what is wrong with it."""
    tree, faults = _parse(sandbox, f"{{% if ({source}) %}}{{% endif %}}")
    if tree is None:
        return Any, faults
    match tree.body:
        case [nodes.If(test=test, body=[], elif_=[], else_=[])]:
            return _Reading(sandbox).expression(test, scope)
    return Any, ["must be one expression, without braces"]


def _parse(sandbox: Sandbox, source: str) -> tuple[nodes.Template | None, list[str]]:
    try:
        return sandbox.parse(source), []
    except TemplateSyntaxError as error:
        return None, [f"cannot be read: {error.message}"]
    except RecursionError:
        return None, ["is nested too deeply"]


class _Reading:
    """Walks a tree; yields what is wrong, and knows what each expression comes to."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def statements(self, body: list[nodes.Node], scope: Scope, loops: int) -> Iterator[str]:
        for node in body:
            if isinstance(node, nodes.For):
                yield from self._loop(node, scope, loops)
            elif isinstance(node, nodes.If):
                yield from self.expression(node.test, scope)[1]
                for branch in (node.body, list[nodes.Node](node.elif_), node.else_):
                    yield from self.statements(branch, scope, loops)
            elif isinstance(node, nodes.Output):
                for inner in node.nodes:
                    yield from self.expression(inner, scope)[1]
            else:
                yield _refusal(node)

    def _loop(self, node: nodes.For, scope: Scope, loops: int) -> Iterator[str]:
        if loops == LOOPS_DEEP_MAX or node.recursive:
            yield "a loop stands in a loop; one is the most"
            return
        shape, faults = self.expression(node.iter, scope)
        yield from faults
        item = item_of(shape)
        if not faults and item is None:
            yield "a loop needs a list, such as streak.calendar or recap.metrics"
        if not isinstance(node.target, nodes.Name):
            yield "a loop names one thing: for item in …"
            return
        inner = {**scope, node.target.name: Any if item is None else item, "loop": Any}
        if node.test is not None:
            yield from self.expression(node.test, inner)[1]
        for branch in (node.body, node.else_):
            yield from self.statements(branch, inner, loops + 1)

    def expression(self, node: nodes.Node, scope: Scope) -> tuple[Shape, list[str]]:
        """Return what an expression comes to, and what is wrong with it."""
        if not isinstance(node, _ALLOWED):
            return Any, [_refusal(node)]
        if isinstance(node, nodes.Name):
            return _named(node.name, scope)
        if isinstance(node, nodes.Getattr):
            return self._field(node.node, node.attr, scope)
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            return self._field(node.node, node.arg.value, scope)
        faults = [
            fault for child in node.iter_child_nodes() for fault in self.expression(child, scope)[1]
        ]
        if isinstance(node, nodes.Filter) and node.node is not None:
            faults += _unknown("filter", node.name, self._sandbox.written_filters)
            if node.name in {"first", "last"}:
                return item_of(self.expression(node.node, scope)[0]) or Any, faults
        if isinstance(node, nodes.Test):
            faults += _unknown("test", node.name, self._sandbox.tests)
        return Any, faults

    def _field(self, base: nodes.Node, name: Any, scope: Scope) -> tuple[Shape, list[str]]:
        shape, faults = self.expression(base, scope)
        shape = present(shape)
        if faults or shape is Any or get_origin(shape) is not None:
            item = item_of(shape)
            known = _origin(shape) is not tuple or isinstance(name, int)
            told = [] if faults or known else [f"{_path(base)} is a list: use for, or first"]
            return (Any if item is None else item), faults + told
        inner = fields_of(shape) if is_group(shape) else {}
        if name in inner:
            return inner[name], []
        return Any, [_unknown_text(f"{_path(base)}.{name}", inner, f"{_path(base)}.")]


def _origin(shape: Shape) -> Any:
    return get_origin(shape)


def present(shape: Shape) -> Shape:
    """Return a shape without that it may be none."""
    if get_origin(shape) in {Union, UnionType}:
        [shape] = [one for one in get_args(shape) if one is not type(None)]
    return shape


def is_group(shape: Shape) -> bool:
    """Tell whether a shape is a class of variables."""
    return isinstance(shape, type) and issubclass(shape, Variables)


def item_of(shape: Shape) -> Shape | None:
    """Return what the items of a list are; None if it is no list."""
    shape = present(shape)
    if shape is Any:
        return Any
    return get_args(shape)[0] if _origin(shape) is tuple else None


def _named(name: str, scope: Scope) -> tuple[Shape, list[str]]:
    return (scope[name], []) if name in scope else (Any, [_unknown_text(name, scope, "")])


def _unknown_text(name: str, known: Mapping[str, Shape], before: str) -> str:
    text = f"there is no variable {name!r}"
    paths = [f"{before}{one}" for one in known]
    near = get_close_matches(name, paths, n=1)
    if near:
        return f"{text}; did you mean {near[0]!r}?"
    return f"{text}; there is {', '.join(paths)}" if paths else f"{text}: nothing is below it"


def _unknown(noun: str, name: str, known: Collection[str]) -> list[str]:
    if name in known:
        return []
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(sorted(known))}"
    return [f"there is no {noun} {name!r}; {hint}"]


def _path(node: nodes.Node) -> str:
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_path(node.node)}.{node.attr}"
    return "…"


def _refusal(node: nodes.Node) -> str:
    what = _NAMES.get(type(node), type(node).__name__.lower())
    return f"{what} cannot stand in an email; {_CAN}"
