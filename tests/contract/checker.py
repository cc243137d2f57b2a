"""Holds Python source against TensorRT's API: every attribute, flag and keyword that the source uses must exist.

What an expression is, is derived: the module is whatever ``import tensorrt as X`` binds or a function returns that
imports it so; parameters and attributes are what their annotations say (``trt.Builder``); calls are what the
bindings' own docstrings say they return. What cannot be derived (``Any``) is a problem itself as soon as an attribute
of it is used, so nothing goes unchecked.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from signatures import Signature, signatures


@dataclass(frozen=True)
class Kind:
    """What an expression is: "module", "class" or "instance" (of ``name``), "method" (``member`` of ``name``),
    "other" (nothing of TensorRT's), or "unknown"."""

    what: str
    name: str = ""
    member: str = ""


MODULE, OTHER, UNKNOWN = Kind("module"), Kind("other"), Kind("unknown")


@dataclass
class Report:
    """``uses``: what was found and checked, as "Class.member"; ``problems``: what the API does not have."""

    uses: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def check(sources: dict[str, str], api: dict[str, Any]) -> Report:
    """Check ``sources`` (text by file name), which may call each other's functions, against an API dump."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    modules = {name for tree in trees.values() for name in _module_names(tree)}
    functions = {f.name: f for tree in trees.values() for f in _functions(tree)}
    report = Report()
    for name, tree in trees.items():
        _Checker(name, api, modules, functions, report).run(tree)
    return report


def _module_names(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.asname or a.name for a in node.names if a.name == "tensorrt")


def _functions(tree: ast.Module) -> Iterable[ast.FunctionDef]:
    return (node for node in tree.body if isinstance(node, ast.FunctionDef))


class _Checker:
    def __init__(
        self, file: str, api: dict[str, Any], modules: set[str], functions: dict[str, ast.FunctionDef], report: Report
    ) -> None:
        self._file, self._api, self._report = file, api, report
        self._modules, self._functions = modules, functions
        # Attributes of the class that is being read.
        self._own: dict[str, Kind] = {}

    def run(self, tree: ast.Module) -> None:
        self._block(tree.body, {})

    # Statements

    def _block(self, body: Iterable[ast.stmt], env: dict[str, Kind]) -> None:
        for statement in body:
            self._statement(statement, env)

    def _statement(self, node: ast.stmt, env: dict[str, Kind]) -> None:
        if isinstance(node, ast.FunctionDef):
            self._function(node, env)
        elif isinstance(node, ast.ClassDef):
            self._class(node, env)
        elif isinstance(node, ast.Assign):
            kind = self._kind(node.value, env)
            for target in node.targets:
                self._assign(target, kind, env)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self._kind(node.value, env)
            self._assign(node.target, self._annotated(node.annotation), env)
        elif isinstance(node, ast.Import):
            env.update({a.asname or a.name: MODULE for a in node.names if a.name == "tensorrt"})
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tensorrt":
            self._problem(node, "import the module, so that what is used of it can be seen")
        else:
            self._rest(node, env)

    def _rest(self, node: ast.AST, env: dict[str, Kind]) -> None:
        """Whatever is in ``node``, in order."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self._statement(child, env)
            elif isinstance(child, ast.expr):
                self._kind(child, env)
            else:
                self._rest(child, env)

    def _function(self, node: ast.FunctionDef, env: dict[str, Kind]) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        inner = dict(env)
        for argument in arguments:
            inner[argument.arg] = Kind("own") if argument.arg == "self" else self._annotated(argument.annotation)
        self._block(node.body, inner)

    def _class(self, node: ast.ClassDef, env: dict[str, Kind]) -> None:
        bases = [self._kind(base, env) for base in node.bases]
        methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
        # A method's name stands for what it returns: nothing else is done with it here.
        outer, self._own = self._own, {method.name: self._annotated(method.returns) for method in methods}
        for base in bases:
            if base.what == "class":
                self._overrides(node.name, base.name, methods)
        # First what __init__ assigns, then every method with that known.
        for item in sorted(methods, key=lambda method: method.name != "__init__"):
            self._function(item, env)
        self._block([item for item in node.body if item not in methods], dict(env))
        self._own = outer

    def _overrides(self, name: str, base: str, methods: list[ast.FunctionDef]) -> None:
        for method in methods:
            if method.name.startswith("_"):
                continue
            known = self._member(base, method.name, method)
            wanted = [len(s.names) for s in signatures(known["doc"], bound=True)] if known else []
            if known and len(method.args.args) - 1 not in wanted:
                self._problem(method, f"{name}.{method.name} overrides one with {wanted} parameters")

    def _assign(self, target: ast.expr, kind: Kind, env: dict[str, Kind]) -> None:
        if isinstance(target, ast.Name):
            env[target.id] = kind
        elif isinstance(target, ast.Attribute):
            owner = self._kind(target.value, env)
            if owner.what == "own":
                self._own[target.attr] = kind
            elif owner.what == "instance":
                known = self._member(owner.name, target.attr, target)
                if known and not known.get("settable"):
                    self._problem(target, f"{owner.name}.{target.attr} cannot be set")
            elif owner == UNKNOWN:
                self._problem(target, f"it is not known whose attribute {target.attr} is; annotate it")
        elif isinstance(target, (ast.Tuple, ast.List)):
            for element in target.elts:
                self._assign(element, OTHER, env)
        else:
            self._rest(target, env)

    # Expressions

    def _kind(self, node: ast.expr, env: dict[str, Kind]) -> Kind:
        if isinstance(node, ast.Name):
            return env.get(node.id, MODULE if node.id in self._modules else OTHER)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, self._kind(node.value, env))
        if isinstance(node, ast.Call):
            return self._call(node, env)
        if isinstance(node, ast.NamedExpr):
            kind = self._kind(node.value, env)
            self._assign(node.target, kind, env)
            return kind
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            inner = dict(env)
            for generator in node.generators:
                self._kind(generator.iter, inner)
                self._assign(generator.target, OTHER, inner)
            self._rest(node, inner)
            return OTHER
        if isinstance(node, ast.Lambda):
            self._kind(node.body, {**env, **{a.arg: UNKNOWN for a in node.args.args}})
            return OTHER
        if isinstance(node, ast.IfExp):
            return max((self._kind(part, env) for part in (node.test, node.body, node.orelse)), key=lambda k: k.name)
        self._rest(node, env)
        return OTHER

    def _attribute(self, node: ast.Attribute, owner: Kind) -> Kind:
        if owner.what == "own":
            return self._own.get(node.attr, OTHER)
        if owner == UNKNOWN:
            self._problem(node, f"it is not known whose attribute {node.attr} is; annotate it")
        if owner.what not in ("module", "class", "instance"):
            return OTHER
        known = self._member(owner.name, node.attr, node)
        if known is None:
            return OTHER
        if known["kind"] == "class":
            return Kind("class", known["doc"])
        if known["kind"] == "value":
            return Kind("instance", known["doc"])
        if known["kind"] == "property":
            (found, *_) = [*signatures(known["doc"], bound=True), Signature((), 0, "?")]
            return self._named(found.returns)
        return Kind("method", owner.name, node.attr) if known["kind"] == "method" else OTHER

    def _call(self, node: ast.Call, env: dict[str, Kind]) -> Kind:
        function = self._kind(node.func, env)
        for argument in [*node.args, *(k.value for k in node.keywords)]:
            self._kind(argument, env)
        if function.what == "class":
            # A subclass calls Base.__init__(self).
            self._fits(node, function.name, "__init__", bound=True)
            return Kind("instance", function.name)
        if function.what == "method":
            unbound = isinstance(node.func, ast.Attribute) and self._kind(node.func.value, env).what == "class"
            return self._fits(node, function.name, function.member, bound=not unbound)
        if isinstance(node.func, ast.Name) and node.func.id in self._functions:
            return self._returned(self._functions[node.func.id])
        if isinstance(node.func, ast.Attribute) and self._kind(node.func.value, env).what == "own":
            return function
        return OTHER

    def _fits(self, node: ast.Call, owner: str, member: str, bound: bool) -> Kind:
        keywords = [k.arg for k in node.keywords if k.arg is not None]
        overloads = signatures(self._member(owner, member, node)["doc"], bound)
        fitting = [s for s in overloads if s.takes(len(node.args), keywords)]
        if not fitting:
            given = f"{len(node.args)} positional arguments and {keywords}"
            self._problem(node, f"{owner}.{member} does not take {given}, but {[s.names for s in overloads]}")
            return OTHER
        self._report.uses |= {f"{owner}.{member}({keyword}=)" for keyword in keywords}
        return self._named(fitting[0].returns)

    def _returned(self, function: ast.FunctionDef) -> Kind:
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Name) and node.value.id in self._modules:
                return MODULE
        return self._annotated(function.returns)

    # Names

    def _annotated(self, annotation: ast.expr | None) -> Kind:
        if annotation is None or (isinstance(annotation, ast.Name) and annotation.id == "Any"):
            return UNKNOWN
        for node in ast.walk(annotation):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self._modules:
                known = self._member("", node.attr, node)
                return Kind("instance", known["doc"]) if known else OTHER
        return OTHER

    def _named(self, returned: str) -> Kind:
        """A type as a docstring names it. C++ names are those of classes that Python calls otherwise."""
        if returned in self._api["classes"]:
            return Kind("instance", returned)
        return UNKNOWN if "::" in returned or returned in ("?", "object", "handle", "capsule") else OTHER

    def _member(self, owner: str, name: str, node: ast.AST) -> dict[str, Any] | None:
        members = self._api["classes"][owner] if owner else self._api["module"]
        self._report.uses.add(f"{owner}.{name}" if owner else name)
        if name not in members:
            self._problem(node, f"there is no {owner or 'tensorrt'}.{name}")
        return members.get(name)

    def _problem(self, node: Any, what: str) -> None:
        problem = f"{self._file}:{node.lineno}: TensorRT {self._api['version']}: {what}"
        if problem not in self._report.problems:
            self._report.problems.append(problem)
